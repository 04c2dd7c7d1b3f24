# Prints "NAME DATA" for each event, read line by line with one of the HTTP clients of Python: lines.py CLIENT URL
import asyncio
import sys
import urllib.request

name = ''


def take(line):
    global name
    field, _, value = line.rstrip('\n').partition(': ')
    if field == 'event':
        name = value
    if field == 'data':
        print(name, value, flush=True)


def with_requests(url):
    import requests
    response = requests.get(url, stream=True)
    response.encoding = 'utf-8'  # it takes text without a charset for Latin-1
    for line in response.iter_lines(chunk_size=1, decode_unicode=True):
        take(line)


def with_httpx(url):
    import httpx
    with httpx.stream('GET', url, timeout=None) as response:
        for line in response.iter_lines():
            take(line)


def with_aiohttp(url):
    import aiohttp

    async def read():
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(None)) as session, session.get(url) as response:
            async for line in response.content:
                take(line.decode())

    asyncio.run(read())


def with_urllib(url):
    with urllib.request.urlopen(url) as response:
        for line in response:
            take(line.decode())


sys.stdout.reconfigure(encoding='utf-8')
globals()['with_' + sys.argv[1]](sys.argv[2])
