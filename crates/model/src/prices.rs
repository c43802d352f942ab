//! What usage costs: whole numbers throughout, so that nothing is lost to rounding but the last digit of a sum.

use std::fmt;
use std::str::FromStr;

use crate::ledger::Usage;

/// An amount of money in billionths of the currency's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Amount(u128);

/// The text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an amount from 0 to 1000000 with at most 9 digits after the point")]
pub struct MalformedAmount;

const DIGITS: usize = 9;
const UNIT: u128 = 1_000_000_000;
const MOST: u128 = 1_000_000 * UNIT;
const MS_PER_HOUR: u128 = 3_600_000;
const MIB_PER_GIB: u128 = 1_024;

impl FromStr for Amount {
    type Err = MalformedAmount;

    fn from_str(text: &str) -> Result<Self, MalformedAmount> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_number =
            |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        if !is_number(whole) || !is_number(part) || whole.len() > 7 || part.len() > DIGITS {
            return Err(MalformedAmount);
        }
        let number = |text: &str| text.parse::<u128>().map_err(|_| MalformedAmount);
        let amount = number(whole)? * UNIT + number(&format!("{part:0<DIGITS$}"))?;
        if amount > MOST { Err(MalformedAmount) } else { Ok(Self(amount)) }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:0DIGITS$}", self.0 / UNIT, self.0 % UNIT)
    }
}

impl Amount {
    /// The nearest number, to be held against others.
    #[expect(clippy::cast_precision_loss, reason = "the nearest is what is asked for")]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / UNIT as f64
    }
}

/// What an hour costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prices {
    /// The currency's name.
    pub currency: String,
    /// Of one CPU.
    pub vcpu_hour: Amount,
    /// Of one GiB of memory limit.
    pub gib_hour: Amount,
}

impl Prices {
    /// What `usage` costs, to the nearest billionth.
    pub fn cost(&self, usage: &Usage) -> Amount {
        let vcpus = usage.vcpu_ms.saturating_mul(self.vcpu_hour.0).saturating_mul(MIB_PER_GIB);
        let memory = usage.mib_ms.saturating_mul(self.gib_hour.0);
        let divisor = MS_PER_HOUR * MIB_PER_GIB;
        Amount(vcpus.saturating_add(memory).saturating_add(divisor / 2) / divisor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly() {
        for (text, shown) in [
            ("0", "0.000000000"),
            ("0.0504", "0.050400000"),
            ("12.000000001", "12.000000001"),
            ("1000000", "1000000.000000000"),
        ] {
            assert_eq!(text.parse::<Amount>().unwrap().to_string(), shown);
        }
        for bad in ["", ".", "1.", ".5", "-1", "1e3", "1,5", "0.0000000001", "1000000.1", "99999999", "١"] {
            assert_eq!(bad.parse::<Amount>(), Err(MalformedAmount), "{bad}");
        }
    }

    #[test]
    fn an_hour_costs_what_an_hour_costs() {
        let amount = |text: &str| text.parse().unwrap();
        let prices =
            Prices { currency: "EUR".to_owned(), vcpu_hour: amount("0.05"), gib_hour: amount("0.016") };
        let hour = Usage {
            execution_ms: MS_PER_HOUR,
            vcpu_ms: 2 * MS_PER_HOUR,
            mib_ms: 512 * MS_PER_HOUR,
            ..Usage::default()
        };
        assert_eq!(prices.cost(&hour).to_string(), "0.108000000");
        let millisecond = Usage { execution_ms: 1, vcpu_ms: 2, mib_ms: 512, ..Usage::default() };
        // 30 billionths: 0.108 / 3,600,000.
        assert_eq!(prices.cost(&millisecond).to_string(), "0.000000030");
        let endless = Usage { vcpu_ms: u128::MAX, mib_ms: u128::MAX, ..Usage::default() };
        assert!(prices.cost(&endless) > prices.cost(&hour));
    }
}
