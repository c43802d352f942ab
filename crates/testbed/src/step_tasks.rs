use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sandscope_model::{Clock, Uptime};
use sandscope_tasks::{Sleep, Tasks, Timer};

struct ClockTimer(Arc<dyn Clock>);

impl Timer for ClockTimer {
    fn now(&self) -> SystemTime {
        let since_1970 = u64::try_from(self.0.now().as_microsecond()).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::from_micros(since_1970)
    }

    fn uptime(&self) -> Duration {
        self.0.uptime().since(Uptime::ZERO)
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.0.sleep(duration)
    }
}

/// A registry of tasks that goes by `clock`.
pub fn tasks(clock: Arc<dyn Clock>) -> Tasks {
    Tasks::new(ClockTimer(clock))
}
