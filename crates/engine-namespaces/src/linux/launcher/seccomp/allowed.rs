//! Calls allowed whatever their arguments: what compilers, interpreters, databases and shells use. `docs/security/
//! kernel-pools.md` says of each which of the kernel's memory it takes and what bounds that.

/// A call's name in `libc`, and its number.
type Call = (&'static str, i64);

macro_rules! calls {
    ($($name:ident)*) => { &[$((stringify!($name), libc::$name)),*] };
}

/// The list for this architecture.
pub(super) fn unconditionally() -> impl Iterator<Item = &'static Call> {
    COMMON.iter().chain(LEGACY)
}

/// Calls that answer `ENOSYS`, as in a kernel built without them: their arguments lie where a filter cannot look, or
/// what they take has no bound. Programs do without.
pub(super) const ABSENT: &[Call] = calls![SYS_clone3 SYS_io_setup SYS_mbind SYS_set_mempolicy_home_node];

/// Calls that succeed and do nothing. They would write out what all others on this host have written, too; and no file
/// of a sandbox outlives a crash of the host.
pub(super) const IDLE: &[Call] = calls![SYS_sync SYS_syncfs];

/// Numbered calls that only the oldest architecture has.
#[cfg(target_arch = "x86_64")]
const LEGACY: &[Call] = calls![
    SYS_access SYS_alarm SYS_arch_prctl SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_epoll_create SYS_epoll_wait
    SYS_epoll_pwait2 SYS_eventfd SYS_fork SYS_futimesat SYS_getdents SYS_getpgrp SYS_inotify_init SYS_lchown SYS_link
    SYS_lstat SYS_mkdir SYS_mknod SYS_open SYS_pause SYS_pipe SYS_poll SYS_readlink SYS_rename SYS_rmdir SYS_select
    SYS_signalfd SYS_stat SYS_symlink SYS_time SYS_unlink SYS_ustat SYS_utime SYS_utimes SYS_vfork SYS_getrlimit
    SYS_sysfs SYS_renameat
];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY: &[Call] = &[];

const COMMON: &[Call] = calls![
    // Files and directories.
    SYS_openat SYS_openat2 SYS_close SYS_close_range SYS_read SYS_write SYS_readv SYS_writev SYS_pread64 SYS_pwrite64
    SYS_preadv SYS_pwritev SYS_preadv2 SYS_pwritev2 SYS_lseek SYS_fstat SYS_newfstatat SYS_statx SYS_statfs
    SYS_fstatfs SYS_faccessat SYS_faccessat2 SYS_fchmod SYS_fchmodat SYS_fchmodat2 SYS_fchown SYS_fchownat
    SYS_truncate SYS_ftruncate SYS_fallocate SYS_fadvise64 SYS_readahead SYS_mkdirat SYS_mknodat SYS_unlinkat
    SYS_renameat2 SYS_linkat SYS_symlinkat SYS_readlinkat SYS_getdents64 SYS_getcwd SYS_chdir SYS_fchdir SYS_chroot
    SYS_umask SYS_utimensat SYS_sync SYS_syncfs SYS_fsync SYS_fdatasync SYS_sync_file_range SYS_copy_file_range
    SYS_sendfile SYS_splice SYS_tee SYS_vmsplice SYS_flock SYS_fcntl SYS_dup SYS_dup3 SYS_pipe2
    SYS_name_to_handle_at SYS_getxattr SYS_lgetxattr SYS_fgetxattr SYS_setxattr SYS_lsetxattr SYS_fsetxattr
    SYS_listxattr SYS_llistxattr SYS_flistxattr SYS_removexattr SYS_lremovexattr SYS_fremovexattr SYS_inotify_init1
    SYS_inotify_add_watch SYS_inotify_rm_watch SYS_memfd_create
    // Waiting.
    SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_ppoll SYS_pselect6 SYS_eventfd2 SYS_signalfd4
    SYS_timerfd_create SYS_timerfd_settime SYS_timerfd_gettime SYS_io_setup SYS_io_destroy SYS_io_submit
    SYS_io_cancel SYS_io_getevents
    // Memory.
    SYS_brk SYS_mmap SYS_munmap SYS_mremap SYS_mprotect SYS_madvise SYS_mincore SYS_mlock SYS_mlock2 SYS_munlock
    SYS_mlockall SYS_munlockall SYS_msync SYS_membarrier SYS_mseal SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect
    SYS_remap_file_pages SYS_memfd_secret SYS_get_mempolicy SYS_mbind SYS_set_mempolicy
    SYS_set_mempolicy_home_node
    // Processes and threads. What acts on others reaches the sandbox's programs and not the agent, by none of its
    // threads' ids: see `init::AGENTS_OWN`, `agent_file`, and the agent's `apart`.
    SYS_clone3 SYS_execve SYS_execveat SYS_exit SYS_exit_group SYS_wait4 SYS_waitid SYS_getpid SYS_getppid SYS_gettid
    SYS_getpgid SYS_setpgid SYS_getsid SYS_setsid SYS_kill SYS_tkill SYS_tgkill SYS_pidfd_open
    SYS_pidfd_send_signal SYS_pidfd_getfd SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev
    SYS_process_mrelease SYS_set_tid_address SYS_set_robust_list SYS_get_robust_list SYS_rseq SYS_futex
    SYS_futex_waitv SYS_restart_syscall SYS_sched_yield SYS_sched_getaffinity SYS_sched_setaffinity
    SYS_sched_getparam SYS_sched_setparam SYS_sched_getscheduler SYS_sched_setscheduler SYS_sched_getattr
    SYS_sched_setattr SYS_sched_get_priority_max SYS_sched_get_priority_min SYS_sched_rr_get_interval
    SYS_getpriority SYS_setpriority SYS_ioprio_get SYS_ioprio_set SYS_setrlimit SYS_prlimit64 SYS_getrusage
    SYS_times SYS_getcpu SYS_landlock_create_ruleset SYS_landlock_add_rule SYS_landlock_restrict_self
    // Who one is.
    SYS_getuid SYS_geteuid SYS_getgid SYS_getegid SYS_getresuid SYS_getresgid SYS_getgroups SYS_setuid SYS_setgid
    SYS_setreuid SYS_setregid SYS_setresuid SYS_setresgid SYS_setfsuid SYS_setfsgid SYS_setgroups SYS_capget
    SYS_capset
    // Signals.
    SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_rt_sigpending SYS_rt_sigtimedwait SYS_rt_sigqueueinfo
    SYS_rt_tgsigqueueinfo SYS_rt_sigsuspend SYS_sigaltstack
    // Time.
    SYS_clock_gettime SYS_clock_getres SYS_clock_nanosleep SYS_nanosleep SYS_gettimeofday SYS_getitimer SYS_setitimer
    SYS_timer_create SYS_timer_settime SYS_timer_gettime SYS_timer_getoverrun SYS_timer_delete
    // Sockets, once made.
    SYS_socketpair SYS_bind SYS_listen SYS_accept SYS_accept4 SYS_connect SYS_shutdown SYS_getsockname
    SYS_getpeername SYS_getsockopt SYS_sendto SYS_recvfrom SYS_sendmsg SYS_recvmsg SYS_sendmmsg
    SYS_recvmmsg
    // System V and POSIX inter-process communication, in a namespace of its own.
    SYS_shmget SYS_shmat SYS_shmctl SYS_shmdt SYS_semget SYS_semop SYS_semctl SYS_semtimedop SYS_msgget SYS_msgsnd
    SYS_msgrcv SYS_msgctl SYS_mq_open SYS_mq_unlink SYS_mq_timedsend SYS_mq_timedreceive SYS_mq_notify
    SYS_mq_getsetattr
    // The system.
    SYS_uname SYS_sysinfo SYS_getrandom
];
