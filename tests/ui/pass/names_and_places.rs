use fast_cache::cache;

mod one {
    #[fast_cache::cache(expire = 60)]
    pub async fn load(id: u64) -> u64 {
        id
    }
}

mod two {
    #[fast_cache::cache(expire = 60)]
    pub(crate) async fn load(id: u64) -> u64 {
        id
    }
}

#[cache(expire = 60)]
async fn r#async(r#type: u64) -> u64 {
    r#type
}

#[cache(expire = 60, key = "{type}")]
async fn r#match(r#type: u64) -> u64 {
    r#type
}

#[cfg(any())]
#[cache(expire = 60)]
async fn absent(missing: Missing) -> Missing {
    missing
}

#[cache(expire = 60)]
#[cfg(any())]
async fn absent_too(missing: Missing) -> Missing {
    missing
}

fn outer() {
    #[cache(expire = 60)]
    async fn inner(id: u64) -> u64 {
        id
    }
    drop(inner(1));
}

async fn other() -> u64 {
    #[cache(expire = 60)]
    async fn inner(id: u64) -> u64 {
        id
    }
    inner(2).await
}

extern crate fast_cache as renamed;

mod facade {
    pub mod inner {
        pub use fast_cache::*;
    }
}

#[cache(expire = 60, crate = facade::inner)]
async fn through_a_path(id: u64) -> u64 {
    id
}

#[cache(expire = 60, crate = ::renamed)]
async fn renamed_crate(id: u64) -> u64 {
    id
}

/// Names that generated code might use.
#[cache(expire = 60)]
async fn hygiene(__key: u64, __value: u64, __call: u64, key: u64) -> u64 {
    __key + __value + __call + key
}

fn main() {
    drop(one::load(1));
    drop(two::load(1));
    drop(r#async(1));
    let _ = r#async::entry(1);
    drop(r#match(1));
    outer();
    drop(other());
    drop(through_a_path(1));
    drop(renamed_crate(1));
    drop(hygiene(1, 2, 3, 4));
}
