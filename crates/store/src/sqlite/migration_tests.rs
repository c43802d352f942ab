//! Files that versions before wrote are brought up to date with what is in them.

use rusqlite::Connection;

use crate::sqlite::migrations::{FACTS, migrate};

/// A file as the version with `n_steps` steps left it.
fn written_by(n_steps: usize, content: &str) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    for step in &FACTS.steps[..n_steps] {
        connection.execute_batch(step).unwrap();
    }
    connection.pragma_update(None, "user_version", u32::try_from(n_steps).unwrap()).unwrap();
    connection.execute_batch(content).unwrap();
    connection
}

fn rows(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let n = statement.column_count();
    let text = |row: &rusqlite::Row<'_>| {
        let cells = (0..n).map(|index| row.get::<_, Option<String>>(index)).collect::<Result<Vec<_>, _>>()?;
        Ok(cells.into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned())).collect::<Vec<_>>().join(" "))
    };
    statement.query_map([], text).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn the_log_of_the_first_version_can_be_read_by_reason_and_time() {
    let event = |team: u32, sequence: u32, event_type: u32, at: u32, data: &str| {
        format!(
            "INSERT INTO events VALUES ({team}, {sequence}, x'00', {event_type}, 'i', x'00', 't', x'00', {at},
                 '{data}');"
        )
    };
    let mut content = String::new();
    for (no, last) in [(1, 5000), (2, 9), (3, 7), (4, 0)] {
        content.push_str(&format!(
            "INSERT INTO teams VALUES ({no}, x'0{no}', 'n', 's{no}', 1, 1, 1, 1, 0, {last});"
        ));
    }
    for (sequence, event_type, at, data) in [
        (1, 1, 50, "{}"),
        (2, 2, 40, r#"{"kill_reason":"oom"}"#),
        (5000, 2, 60, r#"{"kill_reason":"timeout"}"#),
    ] {
        content.push_str(&event(1, sequence, event_type, at, data));
    }
    // Of the second team retention has removed the beginning, of the third everything.
    content.push_str(&event(2, 9, 3, 70, "{}"));
    let mut connection = written_by(1, &content);
    migrate(&mut connection, &FACTS).unwrap();
    assert_eq!(
        rows(
            &connection,
            "SELECT CAST(sequence AS TEXT), kill_reason FROM events ORDER BY team_no, sequence"
        ),
        ["1 -", "2 oom", "5000 timeout", "9 -"]
    );
    assert_eq!(
        rows(&connection, "SELECT CONCAT(team_no, ':', block, ':', min_at, ':', max_at) FROM event_blocks"),
        ["1:0:40:50", "1:1:60:60", "2:0:70:70"]
    );
    let cut = "SELECT CASE WHEN cut_at > 1000000000 THEN 'now' ELSE CAST(cut_at AS TEXT) END FROM teams ORDER BY no";
    assert_eq!(rows(&connection, cut), ["-", "70", "now", "-"]);
}

#[test]
fn alerts_that_fire_go_on_firing_with_what_told_them() {
    let alert = r#"{"alert":{"rule":"busy","metric":"cpuPct","threshold_milli":1}}"#;
    let content = format!(
        "INSERT INTO teams VALUES (1, x'01', 'n', 's', 1, 1, 1, 1, 0, 3, NULL);
         INSERT INTO alerts VALUES ('i', 'busy', 1, 7), ('i', 'forgotten', 1, 8);
         INSERT INTO events VALUES
             (1, 1, x'01', 121, 'i', x'02', 't', x'03', 5, '{{\"alert\":{{\"rule\":\"other\"}}}}', NULL),
             (1, 2, x'01', 121, 'i', x'02', 't', x'03', 7, '{alert}', NULL);"
    );
    let mut connection = written_by(5, &content);
    migrate(&mut connection, &FACTS).unwrap();
    let kept = "SELECT rule_name, subject, CAST(since AS TEXT), template_id, data FROM firing_alerts";
    // Of the other one nothing is known any more: it fires anew if it has to.
    assert_eq!(rows(&connection, kept), [format!("busy sandbox:i 7 t {alert}")]);
}
