//! What the endpoints work with and share.

use std::pin::Pin;
use std::sync::Arc;

use sandscope_lives::Lives;
use sandscope_model::{AlertRule, Attempt, Clock, Entropy, Prices, Secret, Webhook};
use sandscope_store::Store;
use sandscope_tasks::Tasks;
use sandscope_wire::node::NodeView;
use tokio::sync::watch;

use crate::event_readers::{EventReaders, StreamOptions};
use crate::health::Health;
use crate::live_metrics::LiveMetrics;
use crate::parameters::Parameters;

/// Decides whether a webhook may point to a URL; the error is one sentence for the webhook's owner.
pub type WebhookUrlCheck = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// Sends a made-up event to a webhook and says how that went; `None` if too many are being sent.
pub type WebhookTester =
    Arc<dyn Fn(Webhook) -> Pin<Box<dyn Future<Output = Option<Attempt>> + Send>> + Send + Sync>;

/// Describes the machine that sandboxes run on, as of now.
pub type NodeReader = Arc<dyn Fn() -> NodeView + Send + Sync>;

/// What the endpoints work with.
pub struct ApiOptions {
    /// The lives of sandboxes.
    pub lives: Arc<dyn Lives>,
    /// Everything recorded.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance: ids, keys.
    pub entropy: Arc<dyn Entropy>,
    /// What `GET /health` says.
    pub health: watch::Receiver<Health>,
    /// Which targets webhooks may have.
    pub webhook_url_check: WebhookUrlCheck,
    /// Tries webhooks out.
    pub webhook_tester: WebhookTester,
    /// Domain under which sandboxes' ports are reached, reported to clients; `None` leaves it to their own settings.
    pub domain: Option<String>,
    /// What usage costs, if the operator set prices.
    pub prices: Option<Prices>,
    /// Bounds of event streams.
    pub streams: StreamOptions,
    /// The last minutes of every sandbox.
    pub live_metrics: LiveMetrics,
    /// The operator's rules of alerts.
    pub alert_rules: Vec<AlertRule>,
    /// Describes this machine.
    pub node: NodeReader,
    /// What the operator asks with; without one nobody can.
    pub admin_token: Option<Secret>,
    /// The server's tasks, whose troubles `GET /health` reports.
    pub tasks: Tasks,
}

/// What the endpoints share.
pub(crate) struct Shared {
    pub(crate) options: ApiOptions,
    pub(crate) event_readers: EventReaders,
    pub(crate) parameters: Arc<Parameters>,
}

impl std::ops::Deref for Shared {
    type Target = ApiOptions;

    fn deref(&self) -> &ApiOptions {
        &self.options
    }
}

/// The endpoints' shared state.
pub(crate) type App = Arc<Shared>;
