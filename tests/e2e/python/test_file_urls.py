"""Signed file URLs of the official Python SDK, used as anybody would who was handed one: no header names the sandbox."""

import httpx
import pytest


def upload(url, text):
    return httpx.post(url, files={"file": ("ignored-name", text)}, timeout=30)


@pytest.mark.parametrize("expiry", [None, 60])
def test_download_and_upload(sandbox, expiry):
    sandbox.files.write("/home/user/signed file.txt", "for you")
    down = sandbox.download_url("/home/user/signed file.txt", use_signature_expiration=expiry)
    assert ("signature_expiration" in down) == (expiry is not None)
    got = httpx.get(down, timeout=30)
    assert (got.status_code, got.text) == (200, "for you")
    up = sandbox.upload_url("/home/user/uploaded.txt", use_signature_expiration=expiry)
    assert upload(up, f"uploaded {expiry}").status_code == 200
    assert sandbox.files.read("/home/user/uploaded.txt") == f"uploaded {expiry}"


def test_a_signature_is_good_for_one_thing_only(sandbox):
    sandbox.files.write("/home/user/a.txt", "a")
    sandbox.files.write("/home/user/b.txt", "b")
    good = httpx.URL(sandbox.download_url("/home/user/a.txt"))
    assert httpx.get(good, timeout=30).status_code == 200
    for change in ({"path": "/home/user/b.txt"}, {"username": "root"}, {"signature": "v1_" + "A" * 43}):
        refused = httpx.get(good.copy_merge_params(change), timeout=30)
        assert (refused.status_code, refused.json()["code"]) == (401, 401)
    assert upload(good, "not with a signature for reading").status_code == 401
    assert sandbox.files.read("/home/user/a.txt") == "a"


def test_an_expired_one(sandbox):
    sandbox.files.write("/home/user/late.txt", "late")
    late = httpx.get(sandbox.download_url("/home/user/late.txt", use_signature_expiration=-60), timeout=30)
    assert late.status_code == 401
    assert "expired" in late.json()["message"]


def test_for_another_user(sandbox):
    assert upload(sandbox.upload_url("new.txt", user="root"), "by root").status_code == 200
    assert sandbox.files.get_info("/root/new.txt").owner == "root"
    assert httpx.get(sandbox.download_url("new.txt", user="root"), timeout=30).text == "by root"
