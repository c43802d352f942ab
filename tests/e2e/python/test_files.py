"""Files through the official Python SDK: contents, ownership, directories, links, odd names, errors, a full disk."""

import hashlib
import io
import os

import pytest
from e2b import (
    AuthenticationException,
    FileNotFoundException,
    FileType,
    InvalidArgumentException,
    NotEnoughSpaceException,
    Sandbox,
    SandboxException,
)


def run(sandbox, script, **options):
    return sandbox.commands.run(script, **options).stdout


def stat(sandbox, path):
    return run(sandbox, f"stat -c '%U:%G %a %s %F' '{path}'", user="root")


def test_text_and_bytes_come_back_as_they_went_in(sandbox):
    text = "first line\nünïcödé €\n\ttabs and \0 zero\n"
    written = sandbox.files.write("/home/user/text.txt", text)
    assert (written.path, written.name, written.type) == ("/home/user/text.txt", "text.txt", FileType.FILE)
    assert sandbox.files.read("/home/user/text.txt") == text
    everything = bytes(range(256))
    sandbox.files.write("/home/user/bytes", everything)
    assert sandbox.files.read("/home/user/bytes", format="bytes") == everything
    sandbox.files.write("/home/user/empty", "")
    assert sandbox.files.read("/home/user/empty") == ""
    assert stat(sandbox, "/home/user/empty") == "user:user 644 0 regular empty file\n"


def test_a_stream_goes_in_and_out_in_pieces(sandbox):
    whole = os.urandom(2_000_000)
    sandbox.files.write("/home/user/stream", io.BytesIO(whole))
    digest = hashlib.sha256(whole).hexdigest()
    assert run(sandbox, "sha256sum < /home/user/stream") == f"{digest}  -\n"
    back = hashlib.sha256()
    for piece in sandbox.files.read("/home/user/stream", format="stream"):
        back.update(piece)
    assert back.hexdigest() == digest


def test_writing_again_replaces_all_of_it_and_keeps_the_mode(sandbox):
    sandbox.files.write("/home/user/again", "a long first version")
    run(sandbox, "chmod 600 /home/user/again")
    sandbox.files.write("/home/user/again", "short")
    assert sandbox.files.read("/home/user/again") == "short"
    assert stat(sandbox, "/home/user/again") == "user:user 600 5 regular file\n"


def test_files_and_the_directories_made_for_them_belong_to_who_writes(sandbox):
    sandbox.files.write("/home/user/new/deep/er/file", "mine")
    assert stat(sandbox, "/home/user/new/deep/er/file") == "user:user 644 4 regular file\n"
    for path in ("/home/user/new", "/home/user/new/deep", "/home/user/new/deep/er"):
        assert stat(sandbox, path).startswith("user:user 755 ")
    sandbox.files.write("/root/roots", "secret", user="root")
    assert stat(sandbox, "/root/roots") == "root:root 644 6 regular file\n"
    assert sandbox.files.read("roots", user="root") == "secret"
    sandbox.files.write("relative.txt", "x")
    assert sandbox.files.read("~/relative.txt") == "x"
    assert sandbox.files.get_info("./relative.txt").path == "/home/user/relative.txt"
    with pytest.raises(AuthenticationException):
        sandbox.files.write("x", "x", user="nobody-of-that-name")


def test_several_files_in_one_call(sandbox):
    entries = [{"path": f"/home/user/many/{n % 3}/file {n}", "data": f"number {n}"} for n in range(30)]
    written = sandbox.files.write_files(entries)
    assert [one.path for one in written] == [one["path"] for one in entries]
    assert [sandbox.files.read(one["path"]) for one in entries] == [one["data"] for one in entries]
    mixed = [{"path": "mixed/text", "data": "text"}, {"path": "mixed/bytes", "data": b"\0\xff"}]
    assert [one.name for one in sandbox.files.write_files(mixed)] == ["text", "bytes"]
    assert run(sandbox, "cat mixed/text; od -An -tx1 mixed/bytes") == "text 00 ff\n"


def test_what_is_at_a_path_in_full(sandbox):
    sandbox.files.write("/home/user/info.txt", "hello")
    run(sandbox, "chmod 640 info.txt && touch -d 2020-02-03T04:05:06Z info.txt")
    info = sandbox.files.get_info("/home/user/info.txt")
    assert (info.name, info.path, info.type, info.size) == ("info.txt", "/home/user/info.txt", FileType.FILE, 5)
    assert (info.mode, info.permissions, info.owner, info.group) == (0o640, "-rw-r-----", "user", "user")
    assert info.modified_time.isoformat().startswith("2020-02-03T04:05:06")
    assert info.symlink_target is None
    assert sandbox.files.get_info("/root", user="root").type == FileType.DIR
    assert sandbox.files.exists("/home/user/info.txt") is True
    assert sandbox.files.exists("/home/user/info.txt/not-below-a-file") is False
    assert sandbox.files.exists("/nowhere") is False


def test_directories_made_and_made_already_and_in_the_way(sandbox):
    assert sandbox.files.make_dir("/home/user/made/on/the/way") is True
    assert sandbox.files.make_dir("/home/user/made/on/the/way") is False
    assert stat(sandbox, "/home/user/made/on").startswith("user:user 755 ")
    sandbox.files.write("/home/user/made/file", "")
    with pytest.raises(InvalidArgumentException):
        sandbox.files.make_dir("/home/user/made/file")


def test_a_listing_goes_as_deep_as_asked(sandbox):
    run(sandbox, "mkdir -p tree/a/b tree/z && echo 1 >tree/one && echo 22 >tree/a/two && echo 3 >tree/a/b/three")
    names = lambda **options: [one.path for one in sandbox.files.list("/home/user/tree", **options)]
    top = [f"/home/user/tree/{name}" for name in ("a", "one", "z")]
    assert names() == names(depth=1) == top
    assert set(names(depth=2)) == {*top, "/home/user/tree/a/b", "/home/user/tree/a/two"}
    assert "/home/user/tree/a/b/three" in names(depth=3)
    kinds = {one.name: (one.type, one.size) for one in sandbox.files.list("/home/user/tree") if one.name != "z"}
    assert kinds["one"] == (FileType.FILE, 2)
    assert kinds["a"][0] == FileType.DIR
    with pytest.raises(InvalidArgumentException):
        sandbox.files.list("/home/user/tree", depth=0)
    with pytest.raises(FileNotFoundException):
        sandbox.files.list("/home/user/no-tree")
    with pytest.raises(InvalidArgumentException, match="is not a directory"):
        sandbox.files.list("/home/user/tree/one")


def test_links_are_described_by_what_they_lead_to(sandbox):
    run(sandbox, "mkdir links && echo target >links/target && ln -s target links/good && ln -s nowhere links/broken")
    good = sandbox.files.get_info("/home/user/links/good")
    assert (good.symlink_target, good.size) == ("/home/user/links/target", 7)
    assert sandbox.files.read("/home/user/links/good") == "target\n"
    assert sandbox.files.get_info("/home/user/links/broken").symlink_target == "nowhere"
    with pytest.raises(FileNotFoundException):
        sandbox.files.read("/home/user/links/broken")
    sandbox.files.write("/home/user/links/good", "through the link\n")
    assert run(sandbox, "cat links/target; readlink links/good") == "through the link\ntarget\n"
    sandbox.files.remove("/home/user/links/good")
    assert sandbox.files.read("/home/user/links/target") == "through the link\n"


def test_moving_and_removing(sandbox):
    sandbox.files.write("/home/user/move/a", "A")
    moved = sandbox.files.rename("/home/user/move/a", "/home/user/move/new-place/b")
    assert (moved.path, moved.name, moved.type) == ("/home/user/move/new-place/b", "b", FileType.FILE)
    assert sandbox.files.exists("/home/user/move/a") is False
    assert sandbox.files.rename("/home/user/move/new-place", "/home/user/move/dir").type == FileType.DIR
    assert sandbox.files.read("/home/user/move/dir/b") == "A"
    with pytest.raises(FileNotFoundException):
        sandbox.files.rename("/home/user/move/nothing", "/home/user/move/x")
    run(sandbox, "mkdir -p move/dir/x/y/z && touch move/dir/x/y/z/f && chmod 000 move/dir/x/y")
    sandbox.files.remove("/home/user/move")
    assert sandbox.files.exists("/home/user/move") is False
    sandbox.files.remove("/home/user/move")


ODD = ["with space", "quotes'\"", "percent%20", "plus+sign", "hash#question?", "a&b=c;d", "ünïcödé €", "日本語", "-dash"]
ODD += [".hidden", "back\\slash", "new\nline", "tab\there", "n" * 200, "*", "$HOME", "😀"]


@pytest.mark.parametrize("name", ODD)
def test_odd_names(sandbox, name):
    path = f"/home/user/odd/{name}"
    written = sandbox.files.write(path, f"in {name}")
    assert (written.path, written.name) == (path, name)
    assert sandbox.files.read(path) == f"in {name}"
    assert sandbox.files.get_info(path).name == name
    assert name in [one.name for one in sandbox.files.list("/home/user/odd")]
    sandbox.files.remove(path)
    assert sandbox.files.exists(path) is False


def test_errors_arrive_as_the_errors_the_sdk_knows(sandbox):
    with pytest.raises(FileNotFoundException, match="missing"):
        sandbox.files.read("/home/user/missing")
    with pytest.raises(FileNotFoundException):
        sandbox.files.read("/home/user/missing", format="stream")
    with pytest.raises(FileNotFoundException):
        sandbox.files.get_info("/home/user/missing")
    with pytest.raises(InvalidArgumentException):
        sandbox.files.read("/home/user")
    with pytest.raises(InvalidArgumentException):
        sandbox.files.write("/home/user", "x")
    with pytest.raises(SandboxException):
        sandbox.files.write("/etc/passwd/below", "x")
    run(sandbox, "mkfifo /home/user/fifo")
    for path in ("/home/user/fifo", "/dev/zero"):
        with pytest.raises(InvalidArgumentException):
            sandbox.files.read(path)


def test_a_full_disk_is_said_and_the_sandbox_lives_on():
    with Sandbox.create("base", timeout=300) as sandbox:
        fill = 'fallocate -l $(($(stat -f -c "%a*%S" /)-65536)) /fill; dd if=/dev/zero of=/rest bs=4k 2>/dev/null; true'
        sandbox.commands.run(fill, user="root")
        with pytest.raises(NotEnoughSpaceException, match="not enough disk space"):
            sandbox.files.write("/home/user/too-much", "x" * 1_000_000)
        assert run(sandbox, "echo alive") == "alive\n"
        sandbox.files.remove("/fill")
        sandbox.files.write("/home/user/too-much", "fits now")
        assert sandbox.files.read("/home/user/too-much") == "fits now"


def test_what_the_kernel_makes_up_is_read_to_its_end(sandbox):
    for path in ["/proc/version", "/proc/mounts", "/proc/cpuinfo", "/sys/fs/cgroup/cgroup.controllers"]:
        if not sandbox.files.exists(path):
            continue
        there = run(sandbox, f"cat {path}")
        assert sandbox.files.read(path) == there
        assert sandbox.files.read(path, format="bytes") == there.encode()
        assert b"".join(sandbox.files.read(path, format="stream")) == there.encode()
    with pytest.raises(SandboxException, match="agent"):
        sandbox.files.read("/proc/self/status", user="root")
    # The kernel itself refuses what others may not read.
    with pytest.raises(SandboxException, match="403"):
        sandbox.files.read("/proc/self/environ", user="root")


def test_a_planted_link_leads_nowhere_its_owner_could_not_go(sandbox):
    run(sandbox, "ln -s /etc/passwd planted; ln -s /etc there; mkdir -p real; ln -s ~/real mine")
    before = sandbox.files.read("/etc/passwd")
    for path in ["planted", "there/planted"]:
        for user in ["user", "root"]:
            with pytest.raises(SandboxException, match="[Pp]ermission denied"):
                sandbox.files.write(f"/home/user/{path}", "root::0:0::/:/bin/sh\n", user=user)
    with pytest.raises(SandboxException):
        sandbox.files.remove("there/passwd")
    assert sandbox.files.read("/etc/passwd") == before
    sandbox.files.write("mine/a/b", "through a link of one's own")
    assert stat(sandbox, "/home/user/real/a/b") == "user:user 644 27 regular file\n"
    # A path without such links leads where it says, whoever asks.
    sandbox.files.write("/etc/new/file", "x", user="user")
    assert stat(sandbox, "/etc/new/file") == "user:user 644 1 regular file\n"
