use fast_cache::cache;

#[cache(expire = 60, skip(tenant), tags("{tenant}"))]
async fn f(id: u8, tenant: u8) -> u8 { id + tenant }

fn main() {}
