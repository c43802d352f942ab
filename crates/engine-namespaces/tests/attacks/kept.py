"""Takes as much as it can of what stays when its makers have ended, and says what it got.

usage: kept.py NAME       prints "NAME holds N: why it stopped" and ends
"""
import ctypes, errno, os, signal, struct, sys

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.shmat.restype = ctypes.c_void_p


def done(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def shared_memory():
    """Touched, and left behind."""
    while True:
        part = done(LIBC.shmget(0, 4 << 20, 0o1600))
        at = LIBC.shmat(part, None, 0)
        ctypes.memset(ctypes.c_void_p(at), 1, 4 << 20)
        LIBC.shmdt(ctypes.c_void_p(at))
        yield


def small_segments():
    while True:
        part = done(LIBC.shmget(0, 4096, 0o1600))
        at = LIBC.shmat(part, None, 0)
        ctypes.memset(ctypes.c_void_p(at), 1, 4096)
        LIBC.shmdt(ctypes.c_void_p(at))
        yield


def messages(size):
    """The smaller a message, the more of it is the kernel's own."""
    while True:
        queue = done(LIBC.msgget(0, 0o1600))
        message = struct.pack("q", 1) + b"x" * size
        while LIBC.msgsnd(queue, message, ctypes.c_size_t(size), 0o4000) == 0:
            pass
        yield


def semaphores():
    size = 32000
    while True:
        found = LIBC.semget(0, size, 0o1600)
        if found < 0 and size == 1:
            done(found)
        if found < 0:
            size //= 2
        else:
            yield


def posix_queues():
    n = 0
    while True:
        n += 1
        fd = done(LIBC.syscall(240, b"q%d" % n, os.O_CREAT | os.O_RDWR, 0o600, None))
        while LIBC.syscall(242, fd, b"x", 1, 0, struct.pack("qq", 0, 0)) == 0:
            pass
        os.close(fd)
        yield


def in_dev_shm(make):
    n = 0
    while True:
        n += 1
        make("/dev/shm/%s-%d-%s" % (sys.argv[1], n, "n" * 200))
        yield


def sparse(path):
    """One page each, as far away as it may be: the way there is memory as well."""
    fd = os.open(path, os.O_CREAT | os.O_RDWR)
    for power in range(62, 30, -1):
        try:
            os.pwrite(fd, b"x", (1 << power) - 4096)
            os.pwrite(fd, b"x", (1 << power) // 2)
            return
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise


def attributes(path):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    os.setxattr(path, "user.a", b"x" * 60000)


ATTACKS = {
    "sparse_files": lambda: in_dev_shm(sparse),
    "shared_memory": shared_memory, "small_segments": small_segments,
    "empty_messages": lambda: messages(0), "small_messages": lambda: messages(1),
    "large_messages": lambda: messages(8192), "semaphores": semaphores, "posix_queues": posix_queues,
    "attributes": lambda: in_dev_shm(attributes),
    "links": lambda: in_dev_shm(lambda path: os.symlink("x" * 3000, path)),
    "directories": lambda: in_dev_shm(os.mkdir),
    "empty_files": lambda: in_dev_shm(lambda path: os.close(os.open(path, os.O_CREAT | os.O_WRONLY))),
}

# Of what goes at once where nothing stays.
MOST = {"shared_memory": 64, "small_segments": 8000}


def main():
    if sys.argv[1] == "--list":
        print(" ".join(ATTACKS))
        return
    n, why = 0, "nothing"
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for n, _ in enumerate(ATTACKS[sys.argv[1]](), 1):
            if n >= MOST.get(sys.argv[1], 1 << 60):
                break
    except (OSError, MemoryError) as error:
        why = str(error)[:40]
    print("%s holds %d: %s" % (sys.argv[1], n, why), flush=True)


main()
