//! A server process, from its start to its end.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// A server in a directory of its own. It is killed, and its directory removed, when this is
/// dropped.
pub(crate) struct Server {
    process: Child,
    directory: PathBuf,
}

impl Server {
    /// Starts a program with these arguments and a last one, and waits until it listens on `port`.
    pub(super) fn start(program: &Path, arguments: &[&str], last: &str, port: u16) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).arg(last);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self::spawn(command, port)
    }

    /// Starts a command in the directory of the server, and waits until it listens on `port`.
    pub(crate) fn spawn(mut command: Command, port: u16) -> Result<Self> {
        let directory = temporary_directory(port)?;
        let process = command
            .current_dir(&directory)
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| {
                let program = Path::new(command.get_program());
                format!("{} could not be started", program.display())
            })?;
        let mut server = Self { process, directory };
        server.wait_until_it_listens(port)?;
        Ok(server)
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    fn wait_until_it_listens(&mut self, port: u16) -> Result<()> {
        const PATIENCE: Duration = Duration::from_secs(30);

        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = self.process.try_wait()? {
                bail!("the server ended with {status}");
            }
            ensure!(began.elapsed() < PATIENCE, "the server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, and the directory may be gone: both are what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn temporary_directory(port: u16) -> Result<PathBuf> {
    let name = format!("fast-cache-{}-{port}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    fs::create_dir_all(&directory)?;
    Ok(directory)
}
