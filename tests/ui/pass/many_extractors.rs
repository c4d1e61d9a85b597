use axum::extract::{Path, Request};
use axum::http::{Method, Uri};
use axum::{Json, Router, routing::get};
use fast_cache::cache;

#[cache(expire = 60)]
async fn fifteen(
    Path(a): Path<u64>,
    _b: Method, _c: Method, _d: Method, _e: Method, _f: Method, _g: Method, _h: Method,
    _i: Uri, _j: Uri, _k: Uri, _l: Uri, _m: Uri, _n: Uri, _o: Uri,
) -> Json<u64> {
    Json(a)
}

#[cache(expire = 60, skip(_p))]
async fn sixteen(
    Path(a): Path<u64>,
    _b: Method, _c: Method, _d: Method, _e: Method, _f: Method, _g: Method, _h: Method,
    _i: Uri, _j: Uri, _k: Uri, _l: Uri, _m: Uri, _n: Uri, _o: Uri, _p: Request,
) -> Json<u64> {
    Json(a)
}

fn main() {
    let _: Router = Router::new().route("/a/{a}", get(fifteen)).route("/b/{a}", get(sixteen));
}
