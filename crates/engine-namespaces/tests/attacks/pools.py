"""Takes as much as it can of one pool of the kernel's memory, says what it got, and holds it.

usage: pools.py NAME [MOST]       prints "holds N: why it stopped" and sleeps
"""
import ctypes, errno, fcntl, mmap, os, resource, select, signal, socket, struct, sys, time

LIBC = ctypes.CDLL(None, use_errno=True)
SYS = {"mbind": 237, "seccomp": 317, "timer_create": 222, "set_mempolicy": 238, "timerfd_create": 283,
       "epoll_create1": 291, "eventfd2": 290, "prctl": 157}
kept = []
most = int(sys.argv[2]) if len(sys.argv) > 2 else 1 << 60


class Refused(Exception):
    pass


def call(name, *args):
    result = LIBC.syscall(ctypes.c_long(SYS[name]), *[ctypes.c_void_p(a) if isinstance(a, int) else a for a in args])
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def one_file():
    path = "/tmp/pool-%d-%d" % (os.getpid(), len(kept))
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def locks(command, kind, open_one):
    """Few of each file: the kernel looks through all that a file has."""
    def each():
        while True:
            fd = open_one()
            kept.append(fd)
            for at in range(0, 1000, 2):
                fcntl.fcntl(fd, command, struct.pack("hhqqi", kind, 0, at, 1, 0) + b"\0" * 4)
                yield
    return lambda: forked(each)


posix_locks = locks(fcntl.F_SETLK, fcntl.F_WRLCK, one_file)
ofd_locks = locks(37, fcntl.F_WRLCK, one_file)
hosts_files = None


def one_of_the_hosts():
    global hosts_files
    if hosts_files is None:
        hosts_files = (os.path.join(at, name) for at, _, names in os.walk("/usr") for name in names)
    while True:
        try:
            return os.open(next(hosts_files), os.O_RDONLY | os.O_NONBLOCK)
        except PermissionError:
            continue
        except FileNotFoundError:
            continue


ofd_locks_on_the_hosts_file = locks(37, fcntl.F_RDLCK, one_of_the_hosts)


def forked(each):
    """Files are counted per process: as many processes as it takes."""
    while True:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            n = 0
            try:
                for n, _ in enumerate(each(), 1):
                    if n >= most:
                        break
            except (OSError, MemoryError) as error:
                kept.append(error)
            os.write(writer, struct.pack("q", n))
            signal.pause()
        os.close(writer)
        answer = os.read(reader, 8)
        os.close(reader)
        if len(answer) < 8:
            raise Refused("a process was killed")
        for _ in range(struct.unpack("q", answer)[0]):
            yield


def each_of(make):
    def each():
        while True:
            kept.append(make())
            yield
    return lambda: forked(each)


def epoll_with_own():
    return call("epoll_create1", 0)


def corked_datagram():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
    s.connect(("127.0.0.1", 9))
    s.send(b"x" * 65000, 0x8000)
    return s


def netlink_answers():
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    bad = struct.pack("IHHII", 8192, 999, 1 | 4, 1, 0) + b"x" * (8192 - 16)
    s.setblocking(False)
    # Every wrong request is answered with itself.
    for _ in range(1500):
        try:
            s.send(bad)
        except OSError:
            break
    return s


def unread_stream():
    a, b = socket.socketpair()
    for s in (a, b):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
        s.setblocking(False)
        try:
            while True:
                s.send(b"x" * 65536)
        except OSError:
            pass
    return a, b


def unread_datagrams():
    a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    a.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    a.bind(("127.0.0.1", 0))
    b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(120):
        b.sendto(b"x" * 65000, a.getsockname())
    b.close()
    return a


listener = None


def unread_tcp():
    global listener
    if listener is None:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
    a = socket.socket()
    a.connect(listener.getsockname())
    b, _ = listener.accept()
    a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
    a.setblocking(False)
    try:
        while True:
            a.send(b"x" * 65536)
    except OSError:
        pass
    return a, b


def full_pipe():
    r, w = os.pipe()
    try:
        fcntl.fcntl(w, 1031, 1 << 20)
    except OSError:
        pass
    os.set_blocking(w, False)
    try:
        while True:
            os.write(w, b"x" * 65536)
    except OSError:
        pass
    return r, w


def memberships():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    n = len(kept) + os.getpid() * 70000
    for i in range(4):
        m = (n * 4 + i) % (1 << 27)
        group = struct.pack(">I", 0xE8000000 + m)
        s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + socket.inet_aton("127.0.0.1"))
    return s


def memberships_of_one():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for i in range(1000):
        group = struct.pack(">I", 0xE8000000 + i)
        s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + socket.inet_aton("127.0.0.1"))
        yield


def option(family, kind, level, name, value):
    def each():
        s = socket.socket(family, kind)
        s.setsockopt(level, name, value)
        yield
    return each


def program(n):
    """A classic filter of n instructions, each as long as they get when compiled."""
    words = b"".join(struct.pack("HBBI", 0x15, 0, 0, 0x7FFF0000 + i) for i in range(n - 1))
    words += struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000)
    code = ctypes.create_string_buffer(words, len(words))
    prog = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", n, ctypes.addressof(code)))
    return code, prog


def socket_filter():
    code, prog = program(1000)
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, 26, prog.raw[:16])
    yield


def other_protocol():
    socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)
    yield


def line_discipline():
    import pty
    fcntl.ioctl(pty.openpty()[0], 0x5423, struct.pack("i", 0))
    yield


def filters_of_one(n, flags=0):
    LIBC.prctl(38, 1, 0, 0, 0)
    while True:
        code, prog = program(n)
        kept.append(call("seccomp", 1, flags, ctypes.addressof(prog)))
        yield


def seccomp_filters():
    return forked(lambda: filters_of_one(1000))


def seccomp_filters_of_one_process():
    yield from filters_of_one(1000)


def seccomp_listener():
    yield from filters_of_one(1000, 8)


def vma_policies():
    """Policies of one file's ranges: they stay when nothing is mapped any more."""
    fd = os.memfd_create("x")
    span = 65536 * 4096
    base = 0
    mask = ctypes.c_ulong(1)
    LIBC.mmap.restype = ctypes.c_void_p
    while True:
        os.ftruncate(fd, base + span)
        at = LIBC.mmap(None, ctypes.c_size_t(span), 3, 1, fd, ctypes.c_long(base))
        for i in range(0, 65536, 2):
            call("mbind", at + i * 4096, 4096, 2, ctypes.byref(mask), 64, 0)
            yield
        LIBC.munmap(ctypes.c_void_p(at), ctypes.c_size_t(span))
        base += span


def named_area():
    area = mmap.mmap(-1, 4096)
    at = ctypes.addressof(ctypes.c_char.from_buffer(area))
    call("prctl", 0x53564D41, 0, at, 4096, ctypes.addressof(ctypes.create_string_buffer(b"name")))
    yield


def timers():
    def each():
        while True:
            t = ctypes.c_int()
            call("timer_create", 1, 0, ctypes.byref(t))
            yield
    return forked(each)


def signals():
    def each():
        signal.pthread_sigmask(signal.SIG_BLOCK, [40])
        while True:
            if LIBC.sigqueue(os.getpid(), 40, ctypes.c_void_p(0)) < 0:
                raise OSError(ctypes.get_errno(), "sigqueue")
            yield
    return forked(each)


def message_queues():
    while True:
        q = LIBC.msgget(0, 0o1600)
        if q < 0:
            raise OSError(ctypes.get_errno(), "msgget")
        try:
            while True:
                m = struct.pack("q", 1) + b"x" * 8192
                if LIBC.msgsnd(q, m, ctypes.c_size_t(8192), 0o4000) < 0:
                    raise OSError(ctypes.get_errno(), "msgsnd")
        except OSError:
            pass
        yield


def semaphores():
    while True:
        if LIBC.semget(0, 4000, 0o1600) < 0:
            raise OSError(ctypes.get_errno(), "semget")
        yield


def shared_memory():
    while True:
        if LIBC.shmget(0, ctypes.c_size_t(1 << 20), 0o1600) < 0:
            raise OSError(ctypes.get_errno(), "shmget")
        yield


def directories():
    os.makedirs("/tmp/d", exist_ok=True)
    n = 0
    while True:
        n += 1
        try:
            os.stat("/tmp/d/absent-%d-%d" % (os.getpid(), n))
        except FileNotFoundError:
            pass
        yield


def listed_directories():
    """A directory that exists in both layers of the root is listed into the kernel's memory, anew after each change."""
    for i in range(20000):
        os.close(os.open("/home/user/%0100d" % i, os.O_CREAT | os.O_WRONLY))
    n = 0
    def each():
        nonlocal n
        while True:
            n += 1
            os.close(os.open("/home/user/n%d-%d" % (os.getpid(), n), os.O_CREAT | os.O_WRONLY))
            d = os.open("/home/user", os.O_RDONLY | os.O_DIRECTORY)
            buffer = ctypes.create_string_buffer(1 << 20)
            while LIBC.syscall(217, d, buffer, 1 << 20) > 0:
                pass
            kept.append(d)
            yield
    yield from each()


def page_tables():
    LIBC.mmap.restype = ctypes.c_void_p
    size = 1 << 40
    at = LIBC.mmap(None, ctypes.c_size_t(size), 1, 0x4022, -1, ctypes.c_long(0))
    for i in range(0, size, 2 << 20):
        ctypes.c_char.from_address(at + i).value
        yield


def attributes():
    n = 0
    while True:
        n += 1
        path = "/dev/shm/x%d" % n
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        os.setxattr(path, "user.a", b"x" * 60000)
        yield


def processes():
    while True:
        if os.fork() == 0:
            signal.pause()
        yield


def inotify_watches():
    def each():
        while True:
            fd = LIBC.inotify_init()
            if fd < 0:
                raise OSError(ctypes.get_errno(), "inotify_init")
            for i in range(1000):
                path = "/tmp/w%d-%d" % (os.getpid(), i)
                if not os.path.exists(path):
                    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
                if LIBC.inotify_add_watch(fd, path.encode(), 2) < 0:
                    raise OSError(ctypes.get_errno(), "inotify_add_watch")
                yield
    return forked(each)


POOLS = {
    "posix_locks": posix_locks, "ofd_locks": ofd_locks,
    "ofd_locks_on_the_hosts_file": ofd_locks_on_the_hosts_file,
    "epolls": each_of(epoll_with_own),
    "timerfds": each_of(lambda: call("timerfd_create", 1, 0)),
    "eventfds": each_of(lambda: call("eventfd2", 0, 0)),
    "files": each_of(lambda: os.open("/dev/null", os.O_RDONLY)),
    "memfds": each_of(lambda: os.memfd_create("x")),
    "corked_datagrams": each_of(corked_datagram),
    "netlink_answers": each_of(netlink_answers),
    "unread_streams": each_of(unread_stream), "unread_datagrams": each_of(unread_datagrams),
    "unread_tcp": each_of(unread_tcp), "pipes": each_of(full_pipe),
    "memberships": each_of(memberships), "memberships_of_one": memberships_of_one,
    "membership6": option(socket.AF_INET6, socket.SOCK_DGRAM, 41, 20, b"\xff\x12" + b"x" * 14 + struct.pack("i", 1)),
    "keyed_socket": option(socket.AF_INET, socket.SOCK_STREAM, 6, 14, b"x" * 200),
    "flow_label": option(socket.AF_INET6, socket.SOCK_DGRAM, 41, 32, b"x" * 32),
    "other_protocol": other_protocol, "line_discipline": line_discipline,
    "socket_filter": socket_filter, "seccomp_filters": seccomp_filters,
    "seccomp_filters_of_one_process": seccomp_filters_of_one_process,
    "seccomp_listener": seccomp_listener, "policies": vma_policies, "named_area": named_area,
    "timers": timers, "signals": signals, "message_queues": message_queues, "semaphores": semaphores,
    "shared_memory": shared_memory, "absent_names": directories, "listed_directories": listed_directories,
    "page_tables": page_tables, "attributes": attributes, "processes": processes,
    "inotify_watches": inotify_watches,
}


def main():
    if sys.argv[1] == "--list":
        print(" ".join(POOLS))
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    n, why = 0, "as many as asked for"
    try:
        for n, _ in enumerate(POOLS[sys.argv[1]](), 1):
            if n >= most:
                break
    except (OSError, Refused, MemoryError) as error:
        why = str(error)
    print("holds %d: %s" % (n, why), flush=True)
    while True:
        time.sleep(1000)


main()
