use std::sync::Arc;
use std::time::Duration;

use sandscope_engine::LaunchSpec;
use sandscope_lives::{CreateRequest, Created};
use sandscope_model::{
    Build, Execution, ExecutionId, Sandbox, SandboxId, SandboxSpec, Secret, Span, State, Team, Template,
};
use sandscope_store::{Admission, IdempotencyKey};
use tokio::sync::oneshot;

use crate::CreateError;
use crate::driver::{self, Begin};
use crate::lifecycle::Lifecycle;
use crate::slots::Slot;
use crate::undriven::{Undriven, take_back};

impl Lifecycle {
    /// Makes a sandbox. It runs, is recorded and has published `created` when this returns. Once admitted it is made even
    /// if the caller goes away.
    ///
    /// # Errors
    /// See [`CreateError`]; nothing of the sandbox remains.
    pub async fn create(&self, team: &Team, request: CreateRequest) -> Result<Created, CreateError> {
        if self.context.draining.is_cancelled() {
            return Err(CreateError::Draining);
        }
        let max_hours = too_long(team, request.timeout);
        if let Some(max_hours) = max_hours {
            return Err(CreateError::TimeoutTooLong { max_hours });
        }
        let lifecycle = self.clone();
        let team = team.clone();
        let making = self.context.tasks.spawn(async move {
            let undriven = Undriven::default();
            let making = lifecycle.make(&team, request, &undriven);
            let made = lifecycle.context.drivers.run(&"a create", making).await;
            if let Some(sandbox) = undriven.take() {
                take_back(&lifecycle.context, sandbox).await;
            }
            made.unwrap_or_else(|_| Err(lifecycle.unmade()))
        });
        making.await.unwrap_or_else(|_| Err(self.unmade()))
    }

    async fn make(
        &self,
        team: &Team,
        request: CreateRequest,
        undriven: &Undriven,
    ) -> Result<Created, CreateError> {
        let resolved = self.context.facts.resolve_template(team.id, &request.template).await?;
        let Some((template, build)) = resolved else {
            return Err(CreateError::TemplateNotFound { reference: request.template });
        };
        let sandbox = self.draft_sandbox(team, &template, &build, &request);
        let limit = team.limits.max_concurrent_sandboxes;
        let slot = self.context.slots.take(team.id, limit);
        // Without a place nothing can be admitted; the store still knows whether this is a repetition.
        let places = if slot.is_some() { limit } else { 0 };
        let key =
            request.idempotency.map(|key| IdempotencyKey { key: key.key, request_hash: key.request_hash });
        undriven.hold(&sandbox);
        let admission = self.context.admissions.admit_sandbox(&sandbox, places, key).await?;
        if admission != Admission::Admitted {
            undriven.take();
        }
        match admission {
            Admission::Admitted => self.launch(sandbox, slot, undriven).await,
            Admission::LimitReached { .. } => Err(CreateError::LimitReached { limit }),
            Admission::Replay(id) => self.replay(&id).await,
            Admission::InProgress => Err(CreateError::IdempotencyInProgress),
            Admission::Mismatch => Err(CreateError::IdempotencyMismatch),
        }
    }

    async fn launch(
        &self,
        sandbox: Sandbox,
        slot: Option<Slot>,
        undriven: &Undriven,
    ) -> Result<Created, CreateError> {
        let spec = &sandbox.spec;
        let launch = LaunchSpec {
            id: sandbox.id.clone(),
            execution_id: sandbox.state.execution_id(),
            template_id: spec.template_id.clone(),
            rootfs: spec.rootfs.clone(),
            vcpu_count: spec.vcpu_count,
            memory_mb: spec.memory_mb,
            disk_mb: spec.disk_mb,
            env_vars: spec.env_vars.clone(),
            access_token: spec.envd_access_token.clone(),
        };
        let (reply, answer) = oneshot::channel();
        let begin = Begin::Create { launch: Box::new(launch), reply };
        self.context.creates.begin();
        driver::spawn(&self.context, sandbox, slot, begin);
        undriven.take();
        let made = answer.await.unwrap_or_else(|_| Err(self.unmade()));
        self.context.creates.end(made.is_ok());
        let sandbox = made?;
        Ok(Created { sandbox, replayed: false })
    }

    /// Why nobody answers: the server is about to stop, or what was making it failed.
    fn unmade(&self) -> CreateError {
        if self.context.draining.is_cancelled() { CreateError::Draining } else { CreateError::Broken }
    }

    /// What an earlier request with the same key made, as it is now.
    async fn replay(&self, id: &SandboxId) -> Result<Created, CreateError> {
        let live = self.sandbox(id);
        let sandbox = match live {
            Some(sandbox) => Some(sandbox),
            None => self.context.facts.sandbox(id).await?.map(Arc::new),
        };
        let sandbox = sandbox.ok_or(CreateError::IdempotencyInProgress)?;
        Ok(Created { sandbox, replayed: true })
    }

    fn draft_sandbox(
        &self,
        team: &Team,
        template: &Template,
        build: &Build,
        request: &CreateRequest,
    ) -> Sandbox {
        let entropy = &*self.context.entropy;
        let stamp = self.context.clock.stamp();
        let (now, due) = (stamp.at, stamp.uptime.after(request.timeout));
        let execution = Execution {
            id: ExecutionId::generate(entropy),
            started_at: now,
            vcpu_count: build.vcpu_count,
            memory_mb: build.memory_mb,
            span: Some(Span { boot: stamp.boot, started: stamp.uptime, due }),
        };
        let is_private =
            request.network.as_ref().is_some_and(|network| network.allow_public_traffic == Some(false));
        Sandbox {
            id: SandboxId::generate(entropy),
            team_id: team.id,
            spec: SandboxSpec {
                template_id: template.id.clone(),
                build_id: build.id,
                alias: template.name.clone(),
                rootfs: build.rootfs.clone(),
                vcpu_count: build.vcpu_count,
                memory_mb: build.memory_mb,
                disk_mb: build.disk_mb,
                metadata: request.metadata.clone(),
                env_vars: request.env_vars.clone(),
                envd_access_token: request.secure.then(|| self.token()),
                traffic_access_token: is_private.then(|| self.token()),
                timeout_s: u32::try_from(request.timeout.as_secs()).unwrap_or(u32::MAX),
                on_timeout: request.on_timeout,
                auto_resume: request.auto_resume,
                allow_internet_access: request.allow_internet_access,
                network: request.network.clone(),
            },
            state: State::Creating { execution },
            intent_origin: Some(self.origin.clone()),
            generation: 0,
            created_at: now,
            started_at: now,
            end_at: now.checked_add(request.timeout).unwrap_or(jiff::Timestamp::MAX),
        }
    }

    /// 256 random bits as 64 hexadecimal digits.
    fn token(&self) -> Secret {
        let mut bytes = [0; 32];
        self.context.entropy.fill(&mut bytes);
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        Secret::new(digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect())
    }
}

/// The team's longest timeout in hours if `timeout` is longer.
pub(crate) fn too_long(team: &Team, timeout: Duration) -> Option<u32> {
    let max_s = team.limits.max_timeout_s;
    (timeout > Duration::from_secs(u64::from(max_s))).then(|| (max_s / 3600).max(1))
}
