"""File operations as anybody would do them who sits in the sandbox as root: JSON lines in, JSON lines out.

What an agent promises on top of the kernel is written out here: missing parents are made and belong to the user; a
written file belongs to the user; what a link leads to is described; removing what is not there is fine.
"""

import errno
import grp
import hashlib
import json
import os
import pwd
import stat
import sys


def make_all(path, ids):
    parts = path.strip("/").split("/")
    for n in range(1, len(parts) + 1):
        directory = "/" + "/".join(parts[:n])
        try:
            os.mkdir(directory, 0o755)
            os.chown(directory, *ids)
        except FileExistsError:
            pass


def write(op, ids):
    make_all(os.path.dirname(op["path"]), ids)
    with open(op["path"], "wb") as file:
        file.write(op["data"].encode())
        os.fchown(file.fileno(), *ids)
    return op["path"]


def make_dir(op, ids):
    if os.path.isdir(op["path"]):
        return False
    if os.path.exists(op["path"]):
        raise NotADirectoryError(errno.ENOTDIR, "in the way")
    make_all(op["path"], ids)
    if not os.path.isdir(op["path"]):
        raise NotADirectoryError(errno.ENOTDIR, "in the way")
    return True


def rename(op, ids):
    os.lstat(op["path"])
    make_all(os.path.dirname(op["to"]), ids)
    os.rename(op["path"], op["to"])
    return op["to"]


def remove(op, _ids):
    path = op["path"]
    try:
        kind = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISDIR(kind):
        return os.unlink(path)
    for where, directories, files in os.walk(path, topdown=False):
        for name in files + directories:
            full = os.path.join(where, name)
            os.rmdir(full) if os.path.isdir(full) and not os.path.islink(full) else os.unlink(full)
    return os.rmdir(path)


def name(table, number):
    try:
        return table(number)[0]
    except KeyError:
        return str(number)


def info(path):
    own = os.lstat(path)
    is_link = stat.S_ISLNK(own.st_mode)
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, OSError):
        found = own
    target = None
    if is_link:
        target = os.path.realpath(path) if os.path.exists(path) else os.readlink(path)
    return {
        "path": path,
        "size": None if stat.S_ISDIR(found.st_mode) or is_link else found.st_size,
        "symlink_target": target,
        "owner": name(pwd.getpwuid, found.st_uid),
        "group": name(grp.getgrgid, found.st_gid),
        "mode": stat.S_IMODE(found.st_mode) & 0o777,
    }


def known(path):
    try:
        return info(path)
    except NotADirectoryError:
        # There is nothing below a file.
        raise FileNotFoundError(errno.ENOENT, path) from None


def listing(path, depth):
    if not os.path.isdir(path):
        os.stat(path)
        raise NotADirectoryError(errno.ENOTDIR, "no directory")
    found = []
    for entry in os.listdir(path):
        full = os.path.join(path, entry)
        found.append(info(full))
        if depth > 1 and os.path.isdir(full) and not os.path.islink(full):
            found += listing(full, depth - 1)
    return found


def read(op, _ids):
    with open(op["path"], "rb") as file:
        return file.read().decode("latin1")


def tree(path):
    found = {}
    for where, directories, files in os.walk(path):
        for one in directories + files:
            full = os.path.join(where, one)
            own = os.lstat(full)
            kind = stat.S_IFMT(own.st_mode)
            entry = {"mode": oct(own.st_mode), "owner": [own.st_uid, own.st_gid]}
            if kind == stat.S_IFREG:
                with open(full, "rb") as file:
                    entry["contents"] = hashlib.sha256(file.read()).hexdigest()
                entry["size"], entry["links"] = own.st_size, own.st_nlink
            elif kind == stat.S_IFLNK:
                entry["target"] = os.readlink(full)
            found[full] = entry
    return found


OPERATIONS = {
    "write": write,
    "read": read,
    "make_dir": make_dir,
    "rename": rename,
    "remove": remove,
    "exists": lambda op, _ids: os.path.lexists(op["path"]),
    "info": lambda op, _ids: known(op["path"]),
    "list": lambda op, _ids: sorted(listing(op["path"], op["depth"]), key=lambda one: one["path"]),
    "tree": lambda op, _ids: tree(op["path"]),
}

os.umask(0o022)
for line in sys.stdin:
    op = json.loads(line)
    try:
        user = pwd.getpwnam(op.get("user") or "root")
        answer = {"ok": OPERATIONS[op["do"]](op, (user.pw_uid, user.pw_gid))}
    except FileNotFoundError:
        answer = {"error": "not found"}
    except (IsADirectoryError, NotADirectoryError, FileExistsError):
        answer = {"error": "invalid"}
    except OSError as error:
        answer = {"error": "invalid" if error.errno in (errno.ENOTEMPTY, errno.EINVAL) else str(error)}
    print(json.dumps(answer), flush=True)
