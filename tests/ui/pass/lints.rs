#![deny(warnings)]
//! What is generated gives no warnings that the function itself would not.

use async_trait::async_trait;
use axum::{Json, extract::Path};
use fast_cache::cache;

struct Disk;

impl Disk {
    #[cache(expire = 60, companions = none)]
    pub async fn single_expression(id: u64) -> u64 { id + 1 }

    #[cache(expire = 60, companions = none)]
    pub fn single_sync_expression(id: u64) -> u64 { id + 1 }
}

#[async_trait]
trait Load {
    async fn load(&self, id: u64) -> u64;
}

#[async_trait]
impl Load for Disk {
    #[cache(expire = 60, skip(self))]
    async fn load(&self, id: u64) -> u64 { id + 1 }
}

#[cache(expire = 60)]
async fn head_of_the_body(id: u64) -> u64 {
    #![allow(unused_variables)]
    let unused = id;
    id
}

#[cache(expire = 60)]
#[expect(unused_variables)]
async fn expects(id: u64) -> u64 {
    let unused = id;
    id
}

#[cache(expire = 60, companions = none)]
async fn handler(Path(id): Path<u64>) -> Result<Json<u8>, String> {
    let id = u8::try_from(id).map_err(|error| error.to_string())?;
    Ok(Json(id))
}

fn main() {
    drop(Disk::single_expression(1));
    drop(Disk::single_sync_expression(1));
    drop(Disk.load(1));
    drop(head_of_the_body(1));
    drop(expects(1));
    let _: axum::Router = axum::Router::new().route("/{id}", axum::routing::get(handler));
}
