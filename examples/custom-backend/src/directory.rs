//! A backend that keeps values in the files of a directory.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fast_cache::{Backend, Error, TOMBSTONE_BYTES};
use tokio::fs;
use tokio::sync::Mutex;

/// What is no longer marks a key that was invalidated, and is not counted.
const TOMBSTONE: u64 = TOMBSTONE_BYTES as u64;

/// One file an entry, named by its key; the file's date is when the entry expires.
///
/// One process uses the directory at a time.
pub(crate) struct Directory {
    path: PathBuf,
    /// Held while a file is written, so that nobody writes between a look and a write.
    writing: Mutex<()>,
}

impl Directory {
    pub(crate) fn new(path: impl AsRef<Path>) -> io::Result<Self> {
        std::fs::create_dir_all(&path)?;
        Ok(Self {
            path: path.as_ref().to_owned(),
            writing: Mutex::default(),
        })
    }

    /// Keys are printable ASCII; a slash is the one character that a file name cannot hold.
    fn file(&self, key: &str) -> PathBuf {
        self.path.join(key.replace('/', "%2F"))
    }

    async fn write(&self, key: &str, value: Bytes, expire: Option<Duration>) -> Result<(), Error> {
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

        // Written beside and then moved, so that nobody reads a half.
        let beside = self.file(key).with_extension("new");
        fs::write(&beside, value).await.map_err(Error::backend)?;
        let until = SystemTime::now() + expire.unwrap_or(CENTURY).min(CENTURY);
        let file = std::fs::File::options().write(true).open(&beside);
        file.and_then(|file| file.set_modified(until))
            .map_err(Error::backend)?;
        fs::rename(beside, self.file(key))
            .await
            .map_err(Error::backend)
    }
}

impl Backend for Directory {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let file = self.file(key);
        let Some(metadata) = found(fs::metadata(&file).await)? else {
            return Ok(None);
        };
        if metadata.modified().map_err(Error::backend)? <= SystemTime::now() {
            return Ok(None);
        }
        Ok(found(fs::read(file).await)?.map(Bytes::from))
    }

    async fn set(&self, key: &str, value: Bytes, expire: Option<Duration>) -> Result<(), Error> {
        let _writing = self.writing.lock().await;
        self.write(key, value, expire).await
    }

    async fn replace(
        &self,
        key: &str,
        seen: Option<&[u8]>,
        value: Bytes,
        expire: Option<Duration>,
    ) -> Result<bool, Error> {
        let _writing = self.writing.lock().await;
        let is_seen = |there: Bytes| seen.is_some_and(|seen| there.starts_with(seen));
        let stores = self.get(key).await?.is_none_or(is_seen);
        if stores {
            self.write(key, value, expire).await?;
        }
        Ok(stores)
    }

    async fn clear(&self, prefix: &str) -> Result<u64, Error> {
        let prefix = prefix.replace('/', "%2F");
        let mut removed = 0;
        let mut files = fs::read_dir(&self.path).await.map_err(Error::backend)?;
        while let Some(file) = files.next_entry().await.map_err(Error::backend)? {
            if file.file_name().to_string_lossy().starts_with(&prefix) {
                let is_value = file
                    .metadata()
                    .await
                    .is_ok_and(|file| file.len() > TOMBSTONE);
                let is_removed = found(fs::remove_file(file.path()).await)?.is_some();
                removed += u64::from(is_removed && is_value);
            }
        }
        Ok(removed)
    }
}

/// Absence is no error.
fn found<T>(result: io::Result<T>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::backend(error)),
    }
}
