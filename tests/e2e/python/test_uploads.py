"""Files through the official Python SDK, the newer ways: compressed, with metadata, as octet streams; and composed."""

import gzip
import hashlib
import io
import os

import pytest
from e2b import InvalidArgumentException


def digest(data):
    return hashlib.sha256(data).hexdigest()


def test_compressed_on_the_way_not_on_the_disk(sandbox):
    text = "the same line again and again\n" * 100_000
    sandbox.files.write("/home/user/gzip.txt", text, gzip=True)
    assert sandbox.commands.run("sha256sum < gzip.txt").stdout == f"{digest(text.encode())}  -\n"
    assert sandbox.files.read("/home/user/gzip.txt", gzip=True) == text
    noise = os.urandom(500_000)
    sandbox.files.write("/home/user/gzip.bin", io.BytesIO(noise), gzip=True)
    assert sandbox.commands.run("sha256sum < gzip.bin").stdout == f"{digest(noise)}  -\n"
    assert sandbox.files.read("/home/user/gzip.bin", format="bytes", gzip=True) == noise


def test_metadata_stays_with_the_file(sandbox):
    metadata = {"owner": "ada", "with-dash": "some words = more"}
    assert sandbox.files.write("/home/user/tagged", "x", metadata=metadata).metadata == metadata
    assert sandbox.files.get_info("/home/user/tagged").metadata == metadata
    listed = next(one for one in sandbox.files.list("/home/user") if one.name == "tagged")
    assert listed.metadata == metadata
    assert sandbox.files.rename("/home/user/tagged", "/home/user/moved").metadata == metadata
    sandbox.files.write("/home/user/untagged", "x")
    assert sandbox.files.get_info("/home/user/untagged").metadata is None
    with pytest.raises(InvalidArgumentException):
        sandbox.files.write("/home/user/tagged", "x", metadata={"not a name": "x"})


def test_as_an_octet_stream(sandbox):
    sandbox.files.write("/home/user/octets", "octets", use_octet_stream=True)
    assert sandbox.commands.run("cat octets; stat -c %U octets").stdout == "octetsuser\n"


def agent_headers(sandbox, **more):
    token = sandbox._envd_access_token
    return {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "49983", "X-Access-Token": token, **more}


def test_downloads_are_compressed_for_those_who_ask(sandbox, outside):
    text = b"compress me, I am repetitive\n" * 10_000
    sandbox.files.write("/home/user/down.txt", text)
    where = {"path": "/home/user/down.txt"}
    headers = agent_headers(sandbox, **{"Accept-Encoding": "gzip"})
    with outside.stream("GET", "/files", params=where, headers=headers) as answer:
        raw = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
    assert len(raw) < len(text) / 10
    assert gzip.decompress(raw) == text
    plain = outside.get("/files", params=where, headers=agent_headers(sandbox, **{"Accept-Encoding": "identity"}))
    assert "content-encoding" not in plain.headers
    assert plain.content == text


def test_several_files_become_one(sandbox, outside):
    for n in range(3):
        sandbox.files.write(f"/home/user/part-{n}", f"part {n}\n" * 10_000)
    body = {"source_paths": [f"/home/user/part-{n}" for n in range(3)], "destination": "/home/user/composed/whole"}
    answer = outside.post("/files/compose", json=body, headers=agent_headers(sandbox))
    assert answer.status_code == 200, answer.text
    assert answer.json()["path"] == "/home/user/composed/whole"
    whole = "".join(f"part {n}\n" * 10_000 for n in range(3))
    assert sandbox.files.read("/home/user/composed/whole") == whole
    assert sandbox.files.get_info("/home/user/composed/whole").owner == "user"
    body["source_paths"].append("/home/user/part-missing")
    missing = outside.post("/files/compose", json=body, headers=agent_headers(sandbox))
    assert missing.status_code == 404
    assert sandbox.files.read("/home/user/composed/whole") == whole, "what was there stays"
