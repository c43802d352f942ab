"""Watching directories through the official Python SDK, which asks for what happened since it last asked."""

import pytest
from e2b import FileNotFoundException, FilesystemEventType, InvalidArgumentException, NotFoundException, SandboxException

CREATE, WRITE = FilesystemEventType.CREATE, FilesystemEventType.WRITE
CHMOD, RENAME, REMOVE = FilesystemEventType.CHMOD, FilesystemEventType.RENAME, FilesystemEventType.REMOVE


class Watching:
    def __init__(self, sandbox, path, eventually, **options):
        self.handle = sandbox.files.watch_dir(path, **options)
        self.events = []
        self.eventually = eventually

    def ask(self):
        self.events += self.handle.get_new_events()
        return self.events

    def saw(self, kind, name):
        find = lambda: next((one for one in self.ask() if (one.type, one.name) == (kind, name)), None)
        return self.eventually(f"{kind} of {name}", find)


def test_creating_writing_changing_modes_renaming_and_removing(sandbox, eventually):
    run = sandbox.commands.run
    run("mkdir /home/user/watched")
    watching = Watching(sandbox, "/home/user/watched", eventually)
    assert watching.ask() == []
    run("echo hello >/home/user/watched/a.txt")
    watching.saw(CREATE, "a.txt")
    watching.saw(WRITE, "a.txt")
    run("chmod 600 /home/user/watched/a.txt")
    watching.saw(CHMOD, "a.txt")
    run("mv /home/user/watched/a.txt /home/user/watched/b.txt")
    watching.saw(RENAME, "a.txt")
    watching.saw(CREATE, "b.txt")
    run("rm /home/user/watched/b.txt")
    watching.saw(REMOVE, "b.txt")
    sandbox.files.write("/home/user/watched/through the api", "x")
    watching.saw(CREATE, "through the api")
    watching.handle.stop()
    with pytest.raises(SandboxException):
        watching.handle.get_new_events()


def test_what_lies_deeper_is_told_only_where_it_was_asked_for(sandbox, eventually):
    sandbox.commands.run("mkdir -p /home/user/tree/old")
    flat = Watching(sandbox, "/home/user/tree", eventually)
    deep = Watching(sandbox, "/home/user/tree", eventually, recursive=True)
    sandbox.commands.run("echo x >/home/user/tree/old/file; mkdir -p /home/user/tree/new/deeper")
    deep.saw(CREATE, "old/file")
    deep.saw(CREATE, "new")

    def told():
        sandbox.commands.run("echo x >>/home/user/tree/new/deeper/file")
        return any(one.name == "new/deeper/file" for one in deep.ask())

    eventually("files in new directories are told", told)
    sandbox.commands.run("touch /home/user/tree/top")
    flat.saw(CREATE, "top")
    assert all("/" not in one.name for one in flat.events)
    flat.handle.stop()
    deep.handle.stop()


def test_with_what_is_at_the_path(sandbox, eventually):
    sandbox.commands.run("mkdir /home/user/entries")
    watching = Watching(sandbox, "/home/user/entries", eventually, include_entry=True)
    sandbox.files.write("/home/user/entries/file", "five!")
    event = eventually(
        "an event that knows the file",
        lambda: next((one for one in watching.ask() if one.entry and one.entry.size == 5), None),
    )
    assert (event.entry.path, event.entry.owner) == ("/home/user/entries/file", "user")
    watching.handle.stop()


def test_what_cannot_be_watched(sandbox):
    sandbox.commands.run("touch /home/user/just-a-file")
    with pytest.raises(FileNotFoundException):
        sandbox.files.watch_dir("/home/user/no-such-directory")
    with pytest.raises(InvalidArgumentException):
        sandbox.files.watch_dir("/home/user/just-a-file")


def test_a_stopped_watcher_is_forgotten(sandbox):
    sandbox.commands.run("mkdir -p /home/user/brief")
    first = sandbox.files.watch_dir("/home/user/brief")
    first.stop()
    first._closed = False
    with pytest.raises(NotFoundException):
        first.get_new_events()
