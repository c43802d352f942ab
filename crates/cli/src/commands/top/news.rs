use ratatui::crossterm::event::KeyEvent;
use sandscope_client::{FiringAlertView, ListedSandbox, LiveTeam, SandboxDetails, SandboxProcess};

/// What reaches the board.
#[derive(Debug)]
pub(super) enum News {
    Key(KeyEvent),
    Redraw,
    Seconds(LiveTeam),
    List(Vec<ListedSandbox>),
    Alerts(Vec<FiringAlertView>),
    Look { id: String, details: Box<SandboxDetails>, processes: Vec<SandboxProcess> },
    Note(String),
}
