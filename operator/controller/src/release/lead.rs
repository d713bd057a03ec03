//! Who leads, and how the lead is taken from them.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::{Api, Client};
use switchyard_api::Leader;

use crate::{
    api::{WriteError, params, write},
    leader::holder,
    record::found,
};

/// A Lease that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    /// Who holds it.
    pub holder: String,
    /// For how long after its last renewal.
    pub duration: Duration,
}

/// Somebody else may write the Lease between our read and our write.
const TRIES: u32 = 10;

/// Who leads, by this machine's clock; a Lease that ran out long ago leads nobody.
pub async fn lead(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<Lead>, WriteError> {
    let leases = Api::<Lease>::namespaced(client.clone(), namespace);
    let lease = write(leases.get_opt(name)).await?;
    Ok(lease.as_ref().and_then(|lease| held(lease, Timestamp::now())))
}

fn held(lease: &Lease, now: Timestamp) -> Option<Lead> {
    let spec = lease.spec.as_ref()?;
    let holder = holder(lease).to_owned();
    let duration = Duration::from_secs(spec.lease_duration_seconds?.unsigned_abs().into());
    let renewed = spec.renew_time.as_ref()?.0;
    // Twice as long, because clocks differ.
    let over = renewed.saturating_add(duration * 2).unwrap_or(Timestamp::MAX);
    (!holder.is_empty() && now < over).then_some(Lead { holder, duration })
}

/// Takes the lead from whoever has it, and keeps it from everybody for a while. Once the one who led
/// has had time to notice, nobody puts back what is taken off. Without a Lease there is nothing to
/// take.
pub async fn take_over(
    client: &Client,
    (namespace, name): (&str, &str),
    identity: &str,
    keep: Duration,
) -> Result<(), WriteError> {
    let leases = Api::<Lease>::namespaced(client.clone(), namespace);
    for attempt in 1.. {
        let Some(mut lease) = write(leases.get_opt(name)).await? else {
            return Ok(());
        };
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(identity.to_owned());
        spec.lease_duration_seconds = i32::try_from(keep.as_secs()).ok();
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        match write(leases.replace(name, &params(), &lease)).await {
            Ok(_) => break,
            Err(error) if error.code() == Some(409) && attempt < TRIES => {}
            Err(error) => return Err(error),
        }
    }
    let leaders = Api::<Leader>::namespaced(client.clone(), namespace);
    for attempt in 1.. {
        // The kind may not be known here, and then no fence reads it.
        let Some(mut record) = found(&leaders, name).await? else {
            return Ok(());
        };
        identity.clone_into(&mut record.spec.holder);
        record.spec.since = Timestamp::now();
        match write(leaders.replace(name, &params(), &record)).await {
            Ok(_) => break,
            Err(error) if error.code() == Some(409) && attempt < TRIES => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::LeaseSpec;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::fresh("one", 10, true)]
    #[case::a_clock_that_is_behind("one", -60, true)]
    #[case::run_out("one", 100, false)]
    #[case::given_back("", 0, false)]
    fn a_lease_leads_while_it_is_held(#[case] by: &str, #[case] age: i64, #[case] leads: bool) {
        let now = Timestamp::UNIX_EPOCH;
        let renewed = now - jiff::SignedDuration::from_secs(age);
        let spec = LeaseSpec {
            holder_identity: Some(by.into()),
            lease_duration_seconds: Some(15),
            renew_time: Some(MicroTime(renewed)),
            ..LeaseSpec::default()
        };
        let lease = Lease { spec: Some(spec), ..Lease::default() };
        assert_eq!(held(&lease, now).is_some(), leads);
    }
}
