//! What a node would earn in each use, and from which inputs.

use switchyard_api::Use;

use super::Worth;
use crate::{
    economics::{ClassEconomics, ProfileValue, Quote},
    quantity::{UsdPerHour, Watts},
    survey::{NodeView, PoolView},
};

/// Every use of a node: mining with each profile, HPC as it is and as it could be, idle.
pub(super) fn of_node(pool: &PoolView<'_>, node: &NodeView<'_>) -> Vec<Worth> {
    let Some(class) = pool.class_of(node) else {
        return Vec::new();
    };
    let mut uses = of_class(pool, class, node.gpus);
    let busy = node.busy(&pool.facts.spec.gpu.resource_name);
    if node.node_use == Use::Hpc && busy < node.gpus {
        let paid = pool.paid_by_jobs(node);
        uses.insert(class.profiles.len(), hpc(pool, class, node.gpus, busy, paid));
    }
    let mines_with = class.profile_of_label(node.facts.marks.profile.as_deref());
    for one in &mut uses {
        one.current = one.node_use == node.node_use
            && match node.node_use {
                Use::Mining => one.profile.as_ref() == mines_with.map(|known| &*known.profile),
                Use::Hpc => one.busy_gpus == busy,
                Use::Idle => true,
            };
    }
    uses
}

/// Every use of a node of a class with so many GPUs; HPC with all of them busy.
pub(super) fn of_class(pool: &PoolView<'_>, class: &ClassEconomics, gpus: u32) -> Vec<Worth> {
    let mut uses: Vec<_> =
        class.profiles.iter().map(|profile| mining(pool, class, profile, gpus)).collect();
    if class.eligible {
        let paid = pool.prices.hpc.value.map(|price| price.of(gpus));
        uses.push(hpc(pool, class, gpus, gpus, paid));
    }
    uses.push(worth(pool, Use::Idle, class.idle_watts(gpus), class.idle(gpus)));
    uses
}

fn mining(pool: &PoolView<'_>, class: &ClassEconomics, profile: &ProfileValue, gpus: u32) -> Worth {
    let draw = class.mining_watts(profile, gpus);
    Worth {
        profile: Some((*profile.profile).clone()),
        busy_gpus: gpus,
        hashrate: Some(profile.hardware.hashrate.per_second()),
        haircut_percent: Some(profile.haircut_percent),
        fee_percent: Some(profile.fee_percent),
        ..worth(pool, Use::Mining, draw, class.mining(profile, gpus))
    }
}

fn hpc(
    pool: &PoolView<'_>,
    class: &ClassEconomics,
    gpus: u32,
    busy: u32,
    paid: Option<UsdPerHour>,
) -> Worth {
    let value = match paid {
        Some(paid) => class.hpc(paid, gpus, busy),
        None => Quote { value: None, trusted: false },
    };
    let trusted = value.trusted && (busy == 0 || pool.prices.hpc.trusted);
    let draw = class.hpc_watts(gpus, busy);
    Worth { busy_gpus: busy, ..worth(pool, Use::Hpc, draw, Quote { trusted, ..value }) }
}

fn worth(pool: &PoolView<'_>, node_use: Use, draw: Watts, net: Quote<UsdPerHour>) -> Worth {
    let power = pool.prices.power.value.map(|price| draw.cost(price, pool.prices.pue));
    Worth {
        node_use,
        profile: None,
        current: false,
        busy_gpus: 0,
        income: net.value.zip(power).map(|(net, power)| (net + power).number()),
        power: power.map(UsdPerHour::number),
        net: net.value.map(UsdPerHour::number),
        trusted: net.trusted,
        watts: draw.number(),
        hashrate: None,
        haircut_percent: None,
        fee_percent: None,
    }
}
