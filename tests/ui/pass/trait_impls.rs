use std::marker::PhantomData;

use async_trait::async_trait;
use fast_cache::{Cache, InMemoryBackend, cache};

trait Named: Send + Sync + 'static {
    const NAME: &str;
}

struct Cat;
struct Dog;

impl Named for Cat {
    const NAME: &str = "cat";
}

impl Named for Dog {
    const NAME: &str = "dog";
}

struct Table<T>(PhantomData<T>);
struct Disk;

#[async_trait]
trait Boxed {
    async fn boxed(id: u64) -> String;
}

#[async_trait]
impl<T: Named> Boxed for Table<T> {
    #[cache(expire = 60)]
    async fn boxed(id: u64) -> String {
        format!("{} {id}", T::NAME)
    }
}

#[async_trait]
trait Load<T> {
    async fn load(&self, id: u64) -> String;
}

#[async_trait]
impl<T: Named> Load<T> for Disk {
    #[cache(expire = 60, skip(self))]
    async fn load(&self, id: u64) -> String {
        format!("{} {id}", T::NAME)
    }
}

trait Native<T: Named> {
    async fn native(id: u64) -> String;

    #[cache(expire = 60, companions = none)]
    async fn provided(id: u64) -> String {
        format!("{} {id}", T::NAME)
    }
}

impl<T: Named> Native<T> for Disk {
    #[cache(expire = 60, companions = none)]
    async fn native(id: u64) -> String {
        format!("{} {id}", T::NAME)
    }
}

impl<T: Named> Table<T> {
    #[cache(expire = 60, companions = none)]
    async fn inherent(id: u64) -> Result<String, std::num::TryFromIntError> {
        let id = u8::try_from(id)?;
        Ok(format!("{} {id}", T::NAME))
    }

    #[cache(expire = 60, companions = methods)]
    async fn associated(id: u64) -> String {
        format!("{} {id}", T::NAME)
    }
}

async fn type_parameters_of_the_impl_are_in_the_key() {
    for _ in 0..2 {
        assert_eq!(Table::<Cat>::boxed(1).await, "cat 1");
        assert_eq!(Table::<Dog>::boxed(1).await, "dog 1");
        assert_eq!(Load::<Cat>::load(&Disk, 1).await, "cat 1");
        assert_eq!(Load::<Dog>::load(&Disk, 1).await, "dog 1");
        assert_eq!(<Disk as Native<Cat>>::native(1).await, "cat 1");
        assert_eq!(<Disk as Native<Dog>>::native(1).await, "dog 1");
        assert_eq!(<Disk as Native<Cat>>::provided(1).await, "cat 1");
        assert_eq!(<Disk as Native<Dog>>::provided(1).await, "dog 1");
        assert_eq!(Table::<Cat>::inherent(1).await.unwrap(), "cat 1");
        assert_eq!(Table::<Dog>::inherent(1).await.unwrap(), "dog 1");
        assert_eq!(Table::<Cat>::associated(1).await, "cat 1");
        assert_eq!(Table::<Dog>::associated(1).await, "dog 1");
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let cache = Cache::new(InMemoryBackend::new());
    runtime.block_on(cache.scope(type_parameters_of_the_impl_are_in_the_key()));
}
