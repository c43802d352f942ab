use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sandscope_model::{Clock, Entropy, Steady, TeamId, Webhook, WebhookId};
use sandscope_outbound::{EgressGuard, Tls};
use sandscope_store::{Attempts, Deliveries, EventLog, Heard, Store, StoreError};
use sandscope_tasks::{Crew, Phase, Task, Tasks, Watched};
use tokio::sync::watch;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::attempt::Attempter;
use crate::connections::Connections;
use crate::defaults::{Defaults, MAX_WINDOW};
use crate::deliverer::{Deliverer, Stop};
use crate::inbox::Inbox;
use crate::receiver_client;
use crate::recorder::Recorder;
use crate::stats::DeliveryStats;
use crate::tester::Tester;

/// How often to look for what no nudge reported.
const SCAN_INTERVAL: Duration = Duration::from_secs(10);
/// How soon to look again when the store could not be read.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How long tasks get to end once their attempts are canceled.
const GRACE: Duration = Duration::from_secs(5);

/// What deliveries need.
#[derive(Debug, Clone)]
pub struct WebhooksOptions {
    /// The log that is delivered.
    pub events: EventLog,
    /// Registrations, and how far each has come.
    pub deliveries: Deliveries,
    /// Where attempts are noted.
    pub attempts: Attempts,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where delivery ids are drawn from.
    pub entropy: Arc<dyn Entropy>,
    /// Which targets may be dialled.
    pub guard: EgressGuard,
    /// How receivers prove who they are.
    pub tls: Arc<Tls>,
    /// What holds for webhooks that do not say otherwise.
    pub defaults: Defaults,
    /// Connections open at once beyond one per webhook.
    pub max_connections: usize,
    /// Who watches the tasks.
    pub tasks: Tasks,
    /// Where attempts are counted.
    pub stats: Arc<DeliveryStats>,
    /// Whether nothing is delivered but what somebody asks for as a test.
    pub is_held: bool,
}

impl WebhooksOptions {
    /// Options with the usual defaults and 256 shared connections; of the store they keep what deliveries need.
    pub fn new(
        store: &Store,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        guard: EgressGuard,
        tasks: Tasks,
    ) -> Self {
        Self {
            events: store.events.clone(),
            deliveries: store.deliveries.clone(),
            attempts: store.attempts.clone(),
            clock,
            entropy,
            guard,
            tls: Arc::new(Tls::default()),
            defaults: Defaults::default(),
            max_connections: 256,
            tasks,
            stats: Arc::default(),
            is_held: false,
        }
    }
}

/// Everything that delivers events to webhooks: one task per registration, and one that starts them.
#[derive(Debug)]
pub struct Webhooks {
    supervisor: Watched,
    recording: Watched,
    tester: Tester,
    stop: Stop,
}

impl Webhooks {
    /// Starts delivering, from where the store says deliveries are. Must be called within a tokio runtime.
    pub fn start(options: WebhooksOptions) -> Self {
        let stop = Stop::default();
        let (recorder, recording) =
            Recorder::start(options.attempts.clone(), &options.tasks, stop.starting.clone());
        let (defaults, tls) = (Arc::new(options.defaults.clone()), Arc::clone(&options.tls));
        let tester = Tester {
            clock: Arc::clone(&options.clock),
            entropy: Arc::clone(&options.entropy),
            guard: options.guard.clone(),
            tls: Arc::clone(&tls),
            defaults: Arc::clone(&defaults),
            recorder: recorder.downgrade(),
            under_way: Tester::permits(),
        };
        let (tasks, stopped) = (options.tasks.clone(), stop.clone());
        let deliverers = tasks.crew("webhook-deliverers", Phase::Deliver);
        let connections = Connections::new(options.max_connections);
        let hired = TaskTracker::new();
        // Dropped with the task that makes them, once it has ended: the writer of attempts waits for that.
        let make = move || Supervisor {
            connections: Arc::clone(&connections),
            defaults: Arc::clone(&defaults),
            tls: Arc::clone(&tls),
            members: HashMap::new(),
            by_team: HashMap::new(),
            stop: stopped.clone(),
            recorder: recorder.clone(),
            options: options.clone(),
            deliverers: deliverers.clone(),
            hired: hired.clone(),
        };
        let task = Task::restart("webhooks", Phase::Deliver).stopped_by(stop.starting.clone());
        let supervisor = tasks.start(task, move || make().run());
        Self { supervisor, recording, tester, stop }
    }

    /// What sends made-up events.
    pub fn tester(&self) -> Tester {
        self.tester.clone()
    }

    /// Starts no further attempt, waits up to `limit` for those in flight and stores how they ended. Those that are
    /// not done by then are canceled and made again at the next start.
    pub async fn drain(self, limit: Duration) {
        let Self { mut supervisor, mut recording, stop, tester: _ } = self;
        stop.starting.cancel();
        if tokio::time::timeout(limit, supervisor.ended()).await.is_err() {
            stop.everything.cancel();
            if tokio::time::timeout(GRACE, supervisor.ended()).await.is_err() {
                supervisor.abort();
            }
        }
        if tokio::time::timeout(GRACE, recording.ended()).await.is_err() {
            tracing::warn!("attempts were made but not recorded before the end");
        }
    }
}

struct Supervisor {
    options: WebhooksOptions,
    recorder: Recorder,
    connections: Arc<Connections>,
    defaults: Arc<Defaults>,
    tls: Arc<Tls>,
    members: HashMap<WebhookId, Member>,
    by_team: HashMap<TeamId, Vec<Arc<Inbox>>>,
    stop: Stop,
    deliverers: Crew,
    /// Deliverers that have not ended, also those of a supervisor that failed.
    hired: TaskTracker,
}

struct Member {
    team_id: TeamId,
    inbox: Arc<Inbox>,
    config: watch::Sender<Arc<Webhook>>,
    /// Ends with the supervisor that started it.
    task: AbortOnDropHandle<()>,
}

impl Supervisor {
    async fn run(mut self) {
        if self.options.is_held {
            return self.stop.starting.cancelled().await;
        }
        // Two deliverers of one webhook would undo each other's progress: those of a supervisor that failed are
        // aborted, and end where they are.
        self.hired.close();
        self.hired.wait().await;
        // Before anything is read, so that nothing is missed in between.
        let mut events = self.options.events.subscribe_events();
        let mut changes = self.options.deliveries.subscribe_webhooks();
        let mut feed_open = true;
        let mut changes_open = true;
        let mut scan = true;
        while !self.stop.starting.is_cancelled() {
            let interval = match self.reconcile(scan).await {
                Ok(()) => SCAN_INTERVAL,
                Err(error) => {
                    tracing::warn!(%error, "webhooks cannot be read; deliveries go on as far as they are known");
                    RETRY_INTERVAL
                }
            };
            scan = false;
            let mut scan_due = self.options.clock.sleep(interval);
            loop {
                tokio::select! {
                    biased;
                    () = self.stop.starting.cancelled() => break,
                    () = &mut scan_due => { scan = true; break },
                    changed = changes.changed(), if changes_open => {
                        changes_open = changed.is_ok();
                        break;
                    }
                    news = events.next(), if feed_open => feed_open = self.route(news),
                }
            }
        }
        self.finish().await;
    }

    /// Hands a new event to the webhooks that may want it; whether there will be more. A webhook reads its team's log
    /// itself where its inbox has a gap, as far as it has room, so this needs no `Tail` of the store: one that fell
    /// behind would read each event once for all webhooks and hand it to inboxes that are full.
    fn route(&self, news: Option<Heard>) -> bool {
        match news {
            Some(Heard::Event(event)) => {
                for inbox in self.by_team.get(&event.team_id).into_iter().flatten() {
                    inbox.push(&event);
                }
            }
            Some(Heard::Missed(n_missed)) => {
                tracing::debug!(n_missed, "the feed was faster than its router; the log has the rest");
                for member in self.members.values() {
                    member.inbox.missed();
                }
            }
            None => return false,
        }
        true
    }

    /// Makes the tasks match the registrations; on a `scan` also passes them how far the log goes.
    async fn reconcile(&mut self, scan: bool) -> Result<(), StoreError> {
        let mut registered: HashMap<_, _> = self
            .options
            .deliveries
            .all_webhooks()
            .await?
            .into_iter()
            .map(|webhook| (webhook.id, webhook))
            .collect();
        // Dropping a member's sender ends its task.
        self.members.retain(|id, member| registered.contains_key(id) && !member.task.is_finished());
        for (id, member) in &self.members {
            if let Some(webhook) = registered.remove(id) {
                member.config.send_if_modified(|current| {
                    let changed = **current != webhook;
                    if changed {
                        *current = Arc::new(webhook);
                    }
                    changed
                });
            }
        }
        for webhook in registered.into_values() {
            let id = webhook.id;
            let member = self.hire(webhook);
            self.members.insert(id, member);
        }
        self.by_team.clear();
        for member in self.members.values() {
            self.by_team.entry(member.team_id).or_default().push(Arc::clone(&member.inbox));
        }
        for id in self.options.deliveries.webhooks_with_replays().await? {
            if let Some(member) = self.members.get(&id) {
                member.inbox.replays();
            }
        }
        if scan {
            for (team_id, inboxes) in &self.by_team {
                let last = self.options.events.last_sequence(*team_id).await?;
                for inbox in inboxes {
                    inbox.scan(last);
                }
            }
        }
        Ok(())
    }

    fn hire(&self, webhook: Webhook) -> Member {
        let inbox = Arc::new(Inbox::new());
        let (id, team_id) = (webhook.id, webhook.team_id);
        let (config, watched) = watch::channel(Arc::new(webhook));
        let options = &self.options;
        let attempter = Attempter {
            clock: Arc::clone(&options.clock),
            entropy: Arc::clone(&options.entropy),
            guard: options.guard.clone(),
            http: receiver_client::new(options.guard.dialer(), Arc::clone(&self.tls), MAX_WINDOW),
        };
        let deliverer = Deliverer {
            id,
            team_id,
            events: options.events.clone(),
            deliveries: options.deliveries.clone(),
            line: Steady::begin(Arc::clone(&options.clock)),
            entropy: Arc::clone(&options.entropy),
            defaults: Arc::clone(&self.defaults),
            attempter: Arc::new(attempter),
            recorder: self.recorder.clone(),
            stats: Arc::clone(&options.stats),
            connections: Arc::clone(&self.connections),
            inbox: Arc::clone(&inbox),
            config: watched,
            stop: self.stop.clone(),
        };
        let crew = self.deliverers.clone();
        // One that fails is started anew by the next scan.
        let work = async move { drop(crew.run(&id, deliverer.run()).await) };
        Member { team_id, inbox, config, task: AbortOnDropHandle::new(self.hired.spawn(work)) }
    }

    /// Waits until every task has ended. Their registrations stay until then, or they would take them for deleted.
    async fn finish(self) {
        for member in self.members.into_values() {
            // A panic was reported when it happened; its successor continues from what is stored.
            let _ = member.task.await;
            drop(member.config);
        }
    }
}
