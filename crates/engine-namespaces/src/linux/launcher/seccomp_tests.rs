use std::collections::BTreeSet;

use super::*;

#[test]
fn the_filters_compile_and_name_no_dangerous_call() {
    let filters = compile().unwrap();
    assert!(filters.allow_list.len() > allowed::unconditionally().count());
    let rules = allow_list().unwrap();
    for call in [
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_move_mount,
        libc::SYS_open_tree,
        libc::SYS_fsopen,
        libc::SYS_mount_setattr,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_kexec_load,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_open_by_handle_at,
        libc::SYS_clock_settime,
        libc::SYS_settimeofday,
        libc::SYS_clock_adjtime,
        libc::SYS_reboot,
        libc::SYS_swapon,
        libc::SYS_syslog,
        libc::SYS_acct,
        libc::SYS_quotactl,
        libc::SYS_fanotify_init,
        libc::SYS_kcmp,
    ] {
        assert!(!rules.contains_key(&call), "system call {call} is allowed");
    }
}

/// The page has a table whose first column names calls: each is there once, and nothing that is not allowed.
#[test]
#[cfg(target_arch = "x86_64")]
fn the_page_says_of_every_allowed_call_what_bounds_it() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/security/kernel-pools.md");
    let page = std::fs::read_to_string(page).unwrap();
    let table = page.split("## Call by call").nth(1).expect("the table's heading");
    let mut described = BTreeSet::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "calls, what they take, what bounds it: {row}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{row}");
        for call in cells[0].split_whitespace() {
            let call = format!("SYS_{}", call.trim_matches('`'));
            assert!(described.insert(call.clone()), "{call} is described twice");
        }
    }
    let ruled = rules::rules().unwrap();
    let ruled = ruled.iter().map(|(name, ..)| *name);
    let allowed: BTreeSet<String> =
        allowed::unconditionally().map(|(name, _)| *name).chain(ruled).map(str::to_owned).collect();
    assert_eq!(described.difference(&allowed).collect::<Vec<_>>(), Vec::<&String>::new(), "not allowed");
    assert_eq!(allowed.difference(&described).collect::<Vec<_>>(), Vec::<&String>::new(), "not described");
}
