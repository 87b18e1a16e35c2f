//! May it: the one function that says whether somebody may call a number, for every way in which a call can be born.
//! It looks at the number that would be dialled, and changes nothing; fraud counts are taken elsewhere.

use crate::admit::World;
use crate::explain::Tell;
use crate::refusal::Refusal;
use crate::spec::{Policy, Spec};
use base::Now;
use policy::fraud::Profile;
use routing::health::{Health, WhyNot};
use std::sync::Arc;

/// On whose account a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who {
    /// Index of the trunk that it comes from.
    pub trunk: usize,
    /// Index of the account that calls, if one does.
    pub account: Option<usize>,
}

/// Why it may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// What the caller is told.
    pub refusal: Refusal,
    /// Name of the policy.
    pub policy: String,
    /// The rule in it.
    pub rule: String,
}

/// Whether they may call this number as any of `callers`: the trunk and the account are in use, and every policy of both allows the caller
/// and the number.
pub fn may(
    world: &World<'_>,
    who: Who,
    callers: &[Vec<u8>],
    callee: &[u8],
    tell: &mut impl Tell,
) -> Result<(), Denied> {
    let spec = world.spec;
    let trunk = &spec.trunks[who.trunk];
    let account = who.account.map(|index| &spec.accounts[index]);
    let out_of_use = |name: &str| Denied {
        refusal: Refusal::Disabled,
        policy: name.to_owned(),
        rule: "disabled".to_owned(),
    };
    if is_disabled(&trunk.health, world.now) {
        tell.say("may it", || format!("trunk {} is disabled", trunk.name));
        return Err(out_of_use(&trunk.name));
    }
    if let Some(account) = account {
        if is_disabled(&account.health, world.now) {
            tell.say("may it", || format!("account {} is disabled", account.name));
            return Err(out_of_use(&account.name));
        }
        let verdict = account.destinations.judge(callee);
        let (allowed, rule) = (verdict.allowed, verdict.rule.to_string());
        tell.say("may it", || format!("account {}: {} {}", account.name, word(allowed), rule));
        if !allowed {
            return Err(Denied { refusal: Refusal::Policy, policy: account.name.clone(), rule });
        }
    }
    for policy in policies(spec, who) {
        for caller in policy.callers.iter().flat_map(|_| callers) {
            let Some(list) = &policy.callers else { continue };
            let verdict = list.judge(caller);
            let (allowed, rule) = (verdict.allowed, verdict.rule.to_string());
            tell.say("may it", || format!("policy {}: caller {} {}", policy.name, word(allowed), rule));
            if !allowed {
                return Err(Denied { refusal: Refusal::Policy, policy: policy.name.clone(), rule });
            }
        }
        if let Some(destinations) = &policy.destinations {
            let verdict = destinations.judge(callee);
            let (allowed, rule) = (verdict.allowed, verdict.rule.to_string());
            tell.say("may it", || format!("policy {}: {} {}", policy.name, word(allowed), rule));
            if !allowed {
                return Err(Denied { refusal: Refusal::Policy, policy: policy.name.clone(), rule });
            }
        }
    }
    Ok(())
}

fn is_disabled(health: &Health, now: Now) -> bool {
    matches!(health.would(now.mono), Err(WhyNot::Disabled { .. }))
}

/// The policies that apply, the trunk's first.
pub fn policies(spec: &Spec, who: Who) -> impl Iterator<Item = &Policy> {
    let of_trunk = spec.trunks[who.trunk].policies.iter();
    let of_account = who.account.map(|index| spec.accounts[index].policies.iter()).into_iter().flatten();
    of_trunk.chain(of_account).map(|index| &spec.policies[*index])
}

/// The fraud profiles among them.
pub fn profiles(spec: &Spec, who: Who) -> Vec<Arc<Profile>> {
    policies(spec, who).filter_map(|policy| policy.fraud.clone()).collect()
}

fn word(allowed: bool) -> &'static str {
    if allowed { "allowed by" } else { "denied by" }
}
