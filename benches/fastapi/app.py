"""The ancestor, serving what the other servers of the comparison serve."""

import os
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_cache import FastAPICache
from fastapi_cache.backends.inmemory import InMemoryBackend
from fastapi_cache.decorator import cache


def backend():
    url = os.environ.get("REDIS_URL")
    if url is None:
        return InMemoryBackend()
    from fastapi_cache.backends.redis import RedisBackend
    from redis import asyncio as aioredis

    return RedisBackend(aioredis.from_url(url))


@asynccontextmanager
async def lifespan(_: FastAPI):
    FastAPICache.init(backend(), prefix="ancestor")
    yield


app = FastAPI(lifespan=lifespan)


def user(id: int):
    name = f"user-{id}"
    return {"id": len(name), "name": name, "email": f"{name}@example.com"}


@app.get("/users/{id}")
@cache(expire=3600)
async def cached(id: int):
    return user(id)


@app.get("/uncached/{id}")
async def uncached(id: int):
    return user(id)
