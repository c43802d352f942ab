use std::collections::BTreeMap;
use std::fmt::Write as _;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use sandscope_client::{ListedSandbox, LiveTeam};
use serde_json::json;

use super::super::board::Ask;
use super::super::news::News;
use super::*;

fn listed(n: u32, state: &str) -> ListedSandbox {
    serde_json::from_value(json!({
        "sandboxID": format!("i{n:020}"), "templateID": "t", "alias": "base",
        "startedAt": format!("2026-01-01T00:00:{n:02}Z"), "endAt": "2026-01-01T01:00:00Z",
        "cpuCount": 2, "memoryMB": 512, "diskSizeMB": 1024, "state": state, "envdVersion": "0.6.4",
        "metadata": {"n": n.to_string()},
    }))
    .unwrap()
}

/// `cpu` of sandboxes 1, 2, 3 …
fn second(at: i64, cpu: &[f64]) -> News {
    let mut sandboxes = BTreeMap::new();
    for (n, pct) in (1_u32..).zip(cpu) {
        let metric = json!({
            "timestamp": "2026-01-01T00:00:00Z", "timestampUnix": at, "cpuCount": 2, "cpuUsedPct": pct,
            "memUsed": u64::from(n) * 40 * MIB, "memTotal": 512 * MIB, "memCache": 0,
            "diskUsed": 10 * MIB, "diskTotal": 1024 * MIB, "processes": n, "oomKills": 0,
            "pressure": {
                "cpu": {"some": {"avg10": pct, "avg60": 0.0, "avg300": 0.0, "totalUsec": 1}, "full": null},
                "memory": {"some": {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "totalUsec": 1}, "full": null},
                "io": null,
            },
        });
        sandboxes.insert(format!("i{n:020}"), serde_json::from_value(metric).unwrap());
    }
    News::Seconds(LiveTeam { timestamp_unix: at, sandboxes })
}

fn board() -> Board {
    let mut board = Board::new(true);
    board.list(vec![listed(1, "running"), listed(2, "running"), listed(3, "running"), listed(9, "paused")]);
    for at in 100..120_u32 {
        let wave = f64::from(at % 10) * 10.0;
        board.receive(second(i64::from(at), &[5.0, wave, 99.9]));
    }
    board
}

fn picture(board: &mut Board) -> String {
    picture_of(board, 132, 24)
}

fn picture_of(board: &mut Board, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, board)).unwrap();
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let line: String = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text.trim_end().to_owned()
}

fn press(board: &mut Board, keys: &str) -> Vec<Ask> {
    let code = |char| match char {
        '↓' => KeyCode::Down,
        '⇱' => KeyCode::Home,
        '⏎' => KeyCode::Enter,
        '␛' => KeyCode::Esc,
        char => KeyCode::Char(char),
    };
    let mut asks = Vec::new();
    for char in keys.chars() {
        asks.extend(board.receive(News::Key(KeyEvent::new(code(char), KeyModifiers::NONE))));
    }
    asks
}

#[test]
fn the_busiest_stands_on_top() {
    insta::assert_snapshot!(picture(&mut board()));
}

/// The two sizes that terminals open with: every id is whole, and so is the last line.
#[test]
fn it_is_of_use_at_80_by_24_and_at_120_by_40() {
    let mut board = board();
    // The times of the sandboxes are real ones: 20 minutes after the start of the first.
    board.receive(second(1_767_226_800, &[5.0, 40.0, 99.9]));
    board.list((1..=3).map(|n| listed(n, "running")).chain([listed(9, "paused")]).collect());
    let firing = json!({
        "sandboxID": format!("i{:020}", 3), "subject": format!("sandbox:i{:020}", 3), "rule": "memory-nearly-full",
        "since": "2026-01-01T00:10:00Z",
    });
    board.receive(News::Alerts(vec![serde_json::from_value(firing).unwrap()]));
    for (width, height) in [(80, 24), (120, 40)] {
        let picture = picture_of(&mut board, width, height);
        for n in [1, 2, 3, 9] {
            assert!(picture.contains(&format!("i{n:020} ")), "{picture}");
        }
        for part in ["? help", "q quit", "40m", "running!", "1 alert", "base", "LEFT", "by CPU ↓\n"] {
            assert!(picture.contains(part), "no '{part}' at {width}:\n{picture}");
        }
        insta::assert_snapshot!(format!("width_{width}"), picture);
    }
    press(&mut board, "?");
    let help = picture_of(&mut board, 80, 24);
    for part in ["pause or resume", "until its timeout", "Ctrl-C"] {
        assert!(help.contains(part), "{help}");
    }
    assert_eq!(press(&mut board, "q"), [], "any key closes it, and does nothing else");
    assert!(!picture_of(&mut board, 80, 24).contains("Ctrl-C"));
    press(&mut board, "⏎");
    assert!(board.close.is_some());
}

#[test]
fn stalls_have_their_colours() {
    let mut board = board();
    let mut terminal = Terminal::new(TestBackend::new(132, 24)).unwrap();
    terminal.draw(|frame| draw(frame, &mut board)).unwrap();
    let buffer = terminal.backend().buffer();
    let colours_of = |needle: &str| -> Vec<Color> {
        (0..24)
            .filter_map(|y| {
                (0..132)
                    .find(|x| buffer[(*x, y)].symbol() == needle && buffer[(*x, y)].fg != Color::Reset)
                    .map(|x| buffer[(x, y)].fg)
            })
            .collect()
    };
    assert!(colours_of("9").contains(&Color::Red), "99.9 % of a CPU, and as much waiting for it");
    board.colours = false;
    terminal.draw(|frame| draw(frame, &mut board)).unwrap();
    let plain = terminal.backend().buffer().content.iter().all(|cell| cell.fg == Color::Reset);
    assert!(plain, "none where none are wanted");
}

#[test]
fn rows_are_sorted_filtered_and_selected() {
    let mut board = board();
    let ids = |board: &Board| board.shown().iter().map(|(id, _)| id[20..].to_owned()).collect::<String>();
    assert_eq!(ids(&board), "3219", "by CPU: 99.9, 90, 5; one that is paused last");
    press(&mut board, "s");
    assert_eq!(ids(&board), "3219", "by memory");
    press(&mut board, "r");
    assert_eq!(ids(&board), "9123");
    press(&mut board, "/n=2⏎");
    assert_eq!(ids(&board), "2");
    press(&mut board, "␛/PAUSED⏎");
    assert_eq!(ids(&board), "9");
    press(&mut board, "␛r↓↓");
    assert_eq!(board.position(), Some(2));
    board.receive(second(130, &[100.0, 1.0, 1.0]));
    press(&mut board, "sssss");
    assert_eq!(board.position(), Some(0), "the selection stays with its sandbox");
}

#[test]
fn the_top_stays_in_sight_until_another_row_is_selected() {
    let mut board = Board::new(true);
    let n = 60_u32;
    board.list((1..=n).map(|n| listed(n, "running")).collect());
    // The busiest of a second is among the idlest from then on.
    let value = |n: u32, n_busy| if n == n_busy { 90.0 } else { f64::from(u8::from(n > n_busy)) };
    let busiest = |n_busy| (1..=n).map(|n| value(n, n_busy)).collect::<Vec<_>>();
    for at in 1..=20 {
        board.receive(second(i64::from(at), &busiest(at)));
        let first = picture(&mut board).lines().nth(2).unwrap().to_owned();
        assert!(first.starts_with(&format!("i{at:020}")), "{first}");
    }
    press(&mut board, "↓");
    let selected = board.target();
    board.receive(second(21, &busiest(21)));
    assert_eq!(board.target(), selected, "it stays with its sandbox from then on");
    press(&mut board, "⇱");
    board.receive(second(22, &busiest(22)));
    assert_eq!(board.target(), Some(format!("i{:020}", 22)), "back at the top, it follows none");
    let one = selected.unwrap();
    press(&mut board, &format!("/{one}⏎↓␛"));
    assert_eq!(board.target(), Some(format!("i{:020}", 22)), "the only row is the first");
}

#[test]
fn a_note_goes_once_seconds_arrive_for_a_while() {
    let mut board = board();
    board.receive(News::Note("cannot connect; trying again".to_owned()));
    board.receive(second(121, &[1.0]));
    assert!(picture(&mut board).contains("trying again"));
    board.receive(second(130, &[1.0]));
    assert!(!picture(&mut board).contains("trying again"));
}

#[test]
fn nothing_is_done_without_a_yes() {
    let mut board = board();
    let third = format!("i{:020}", 3);
    assert_eq!(press(&mut board, "k"), []);
    insta::assert_snapshot!(picture(&mut board));
    assert_eq!(press(&mut board, "n"), []);
    assert_eq!(press(&mut board, "ky"), [Ask::Kill(third.clone())]);
    assert_eq!(press(&mut board, "py"), [Ask::Pause(third)]);
    assert_eq!(press(&mut board, "↓↓↓py"), [Ask::Resume(format!("i{:020}", 9))]);
    assert_eq!(press(&mut board, "q"), [Ask::Quit]);
}

#[test]
fn one_can_be_looked_at_closely() {
    let mut board = board();
    let id = format!("i{:020}", 3);
    assert_eq!(press(&mut board, "⏎"), [Ask::Look(id.clone())]);
    assert!(picture(&mut board).contains("looking"));
    let stall = json!({"avg10": 41.0, "avg60": 5.5, "avg300": 0.1, "totalUsec": 9});
    let details = json!({
        "timestamp": "2026-01-01T00:00:00Z", "timestampUnix": 1,
        "cpu": {"count": 2, "usageUsec": 9_000_000, "userUsec": 8_000_000, "systemUsec": 1_000_000,
                "periods": 100, "throttledPeriods": 7, "throttledUsec": 350_000},
        "memory": {"limit": 512 * MIB, "current": 100 * MIB, "peak": 200 * MIB, "anon": 80 * MIB,
                   "file": 20 * MIB, "kernel": null, "swap": 0, "oomKills": 1},
        "pressure": {"cpu": {"some": stall, "full": stall}, "memory": null, "io": null},
        "disk": {"used": 10 * MIB, "total": 1024 * MIB, "inodesUsed": 12, "inodesTotal": 65536,
                 "readBytes": MIB, "writtenBytes": 3 * MIB, "reads": 10, "writes": 20},
        "network": [{"name": "lo", "rxBytes": 2048, "rxPackets": 3, "rxDrops": 0, "txBytes": 2048, "txPackets": 3, "txDrops": 0}],
        "processes": {"current": 3, "max": 1024, "openFiles": null},
    });
    let process = json!({"pid": 7, "command": "\\u{1b}[2Jevil", "state": "R", "cpuPct": 150.0, "cpuUsec": 1,
                         "rssBytes": 4 * MIB, "threads": 2});
    board.receive(News::Look {
        id: id.clone(),
        details: serde_json::from_value(details).unwrap(),
        processes: vec![serde_json::from_value(process).unwrap()],
    });
    insta::assert_snapshot!(picture(&mut board));
    assert_eq!(board.receive(second(130, &[])), [Ask::Look(id)], "and again, as long as it is looked at");
    press(&mut board, "␛");
    assert_eq!(board.receive(second(140, &[])), []);
}

#[test]
fn any_size_and_any_key_is_survived() {
    let mut board = board();
    for (width, height) in [(1, 1), (3, 2), (20, 5), (500, 200)] {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        for keys in ["", "k", "n⏎", "p", "␛␛/xyz", "⏎"] {
            press(&mut board, keys);
            terminal.draw(|frame| draw(frame, &mut board)).unwrap();
        }
    }
    board.list(Vec::new());
    board.list(Vec::new());
    press(&mut board, "↓k⏎p");
    picture(&mut board);
}
