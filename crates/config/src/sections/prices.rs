use sandscope_model::{Amount, Prices};

use crate::kind::{amount, named};
use crate::rules::Rules;
use crate::setting::{Section as _, section};

section! {
    /// What usage costs; all three or no section. Half a price table would bill half of what was used.
    pub(crate) PriceTable in "prices" said "prices" {
        /// What amounts are counted in, for example EUR
        currency: Option<String> = named(), key "currency";
        /// Price of one CPU for an hour
        vcpu_hour: Option<Amount> = amount(), key "vcpu_hour";
        /// Price of one GiB of memory for an hour
        gib_hour: Option<Amount> = amount(), key "gib_hour";
    }
}

impl PriceTable {
    /// None without the section.
    pub(crate) fn resolve(rules: &mut Rules<'_>) -> Option<Prices> {
        if !rules.given().has_table(Self::TABLE) {
            return None;
        }
        let Self { currency, vcpu_hour, gib_hour } = Self::take(rules);
        for setting in Self::settings() {
            let given = rules.given().get(Self::TABLE, setting.key).is_some();
            let sentence = format!("prices {} must be {}", setting.key, setting.allowed);
            rules.check(given, (Self::TABLE, setting.key), &sentence);
        }
        Some(Prices { currency: currency?, vcpu_hour: vcpu_hour?, gib_hour: gib_hour? })
    }
}
