//! What the fake's sandboxes use.

use async_trait::async_trait;
use sandscope_engine::{Depth, ReadError, Reading, Readings, Wanted};
use sandscope_model::{
    Counters, CpuDetails, Details, DiskDetails, MemoryDetails, Pressures, ProcessReading, SandboxId, Values,
};

use super::{FakeEngine, Question, Shape};

impl FakeEngine {
    /// The counters of one sandbox, without what is read for stored samples only.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if it does not live.
    ///
    /// # Panics
    /// Where that is planned.
    pub fn counters(&self, id: &SandboxId) -> Result<Counters, ReadError> {
        let now = self.world.clock.uptime();
        let mut state = self.lock();
        state.faults.ask(Question::Counters);
        let sandbox = state.alive(id).map_err(|_| ReadError::NotFound)?;
        sandbox.pass_time(now);
        Ok(Counters { more: Values::NONE, ..sandbox.counters.clone() })
    }
}

impl FakeEngine {
    fn more_counters(&self, id: &SandboxId) -> Values {
        self.lock().alive(id).map_or(Values::NONE, |sandbox| sandbox.counters.more)
    }
}

#[async_trait]
impl Readings for FakeEngine {
    fn running(&self) -> Vec<SandboxId> {
        let mut state = self.lock();
        state.faults.ask(Question::Running);
        let running = state.sandboxes.values().filter(|sandbox| sandbox.shape == Shape::Running);
        running.map(|sandbox| sandbox.spec.id.clone()).collect()
    }

    async fn read(&self, wanted: Vec<Wanted>) -> Vec<(SandboxId, Result<Reading, ReadError>)> {
        let read_one = |Wanted { id, depth }: Wanted| {
            let reading = self.counters(&id).map(|mut counters| {
                if depth != Depth::Counters {
                    counters.more = self.more_counters(&id);
                }
                let pressures = (depth == Depth::WithPressures).then(Pressures::default);
                Reading { counters, pressures }
            });
            (id, reading)
        };
        wanted.into_iter().map(read_one).collect()
    }

    async fn details(&self, id: &SandboxId) -> Result<Details, ReadError> {
        let counters = self.counters(id)?;
        Ok(Details {
            cpu: CpuDetails { usage_usec: Some(counters.cpu_usage_usec), ..CpuDetails::default() },
            memory: MemoryDetails {
                current_bytes: Some(counters.memory_current_bytes),
                file_bytes: Some(counters.memory_file_bytes),
                n_oom_kills: Some(counters.n_oom_kills),
                ..MemoryDetails::default()
            },
            disk: DiskDetails {
                total_bytes: counters.disk_total_bytes,
                available_bytes: counters.disk_available_bytes,
                ..DiskDetails::default()
            },
            n_pids: Some(counters.n_pids),
            ..Details::default()
        })
    }

    async fn processes(&self, id: &SandboxId) -> Result<Vec<ProcessReading>, ReadError> {
        let counters = self.counters(id)?;
        Ok(vec![ProcessReading {
            host_pid: 4000,
            started_ticks: 1,
            pid: 1,
            name: b"agent".to_vec(),
            state: 'S',
            n_threads: 1,
            cpu_usec: counters.cpu_usage_usec,
            rss_bytes: counters.memory_current_bytes,
        }])
    }
}
