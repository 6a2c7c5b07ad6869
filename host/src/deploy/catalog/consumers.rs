//! Who gets which events: the deployed projectors behind their upcasters. Pure, but for the reading of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use lamphouse_contract::{EventSchema, Subscription, UpcasterDescriptor};

use super::super::host::HostError;
use super::{Consumer, LiftedBy, OfStreamType, Sees, TypeName, UnseenSubscription};
use crate::core::PluginDigest;
use crate::core::event::{EventFilter, schema_matches};
use crate::tables::{GenerationRecord, GenerationState, TableStore};
use crate::upcast::Graph;

/// One projector as it is deployed.
pub(super) struct Deployed {
    generation: GenerationRecord,
    graph: Graph,
    upcasters: Vec<Arc<UpcasterDescriptor>>,
}

/// All of them.
pub(super) struct Consumers(Vec<Deployed>);

/// Says what an upcaster of this digest declares.
pub(super) type Describe<'d> = &'d mut dyn FnMut(&PluginDigest) -> Result<Arc<UpcasterDescriptor>, HostError>;

impl Consumers {
    /// Of each projection that runs: the public generation, or the newest where none is public yet.
    pub(super) fn read(store: &dyn TableStore, describe: Describe<'_>) -> Result<Self, HostError> {
        let removed: BTreeSet<_> = store
            .projections()?
            .into_iter()
            .filter(|one| one.removed)
            .map(|one| one.name)
            .collect();
        let mut chosen: Vec<GenerationRecord> = Vec::new();
        let rank = |one: &GenerationRecord| (one.state == GenerationState::Live, one.id);
        for generation in store.generations()? {
            let is_out = matches!(
                generation.state,
                GenerationState::Retired | GenerationState::Dropped
            );
            if is_out || removed.contains(&generation.projection) {
                continue;
            }
            match chosen
                .iter_mut()
                .find(|one| one.projection == generation.projection)
            {
                Some(other) if rank(other) < rank(&generation) => *other = generation,
                Some(_) => {}
                None => chosen.push(generation),
            }
        }
        chosen.sort_by(|a, b| a.projection.cmp(&b.projection));
        let deployed = chosen.into_iter().map(|generation| {
            let digests = generation.upcasters.iter().map(|upcaster| &upcaster.digest);
            let upcasters: Vec<_> = digests.map(&mut *describe).collect::<Result<_, _>>()?;
            let graph =
                Graph::new(&upcasters).map_err(|conflict| HostError::Refused(conflict.to_string()))?;
            Ok(Deployed {
                generation,
                graph,
                upcasters,
            })
        });
        Ok(Self(deployed.collect::<Result<_, HostError>>()?))
    }

    /// Who gets events of a schema that are in streams of these types; of one without events, in any.
    pub(super) fn of(&self, schema: &EventSchema, stream_types: &[OfStreamType]) -> Vec<Consumer> {
        let consumers = self.0.iter().filter_map(|one| {
            let wanted = &one.generation.descriptor.subscriptions;
            let gets: Vec<TypeName> = one
                .forms(schema)
                .iter()
                .filter(|form| match stream_types {
                    [] => wanted.is_empty() || wanted.iter().any(|wanted| matches(wanted, form)),
                    some => some.iter().any(|of| takes(wanted, form, &of.stream_type)),
                })
                .map(TypeName::from)
                .collect();
            (!gets.is_empty()).then(|| Consumer {
                projector: one.generation.projection.to_string(),
                version: one.generation.version.clone(),
                generation: one.generation.id.0,
                gets,
            })
        });
        consumers.collect()
    }

    /// The rules that take a schema.
    pub(super) fn lifting(&self, schema: &EventSchema) -> Vec<LiftedBy> {
        let mut found = BTreeSet::new();
        for upcaster in self.0.iter().flat_map(|one| &one.upcasters) {
            for rule in upcaster.rules.iter().filter(|rule| rule.takes == *schema) {
                found.insert(LiftedBy {
                    upcaster: upcaster.name.clone(),
                    version: upcaster.version.clone(),
                    gives: rule.gives.iter().map(TypeName::from).collect(),
                });
            }
        }
        found.into_iter().collect()
    }

    /// Subscriptions that nothing meets. One that takes everything always waits for something.
    pub(super) fn unseen(
        &self,
        sees: &Sees<'_>,
        is_met: &dyn Fn(&Subscription, &Deployed) -> bool,
    ) -> Vec<UnseenSubscription> {
        let may_see = |subscription: &Subscription| match &subscription.stream_type {
            Some(stream_type) => sees.stream_type(stream_type),
            None => sees.all(),
        };
        let names_something = |subscription: &Subscription| {
            subscription.event_type.is_some() || subscription.stream_type.is_some()
        };
        let mut unseen = Vec::new();
        for one in &self.0 {
            let subscriptions = one.generation.descriptor.subscriptions.iter();
            for subscription in subscriptions.filter(|one| names_something(one) && may_see(one)) {
                if !is_met(subscription, one) {
                    unseen.push(UnseenSubscription {
                        projector: one.generation.projection.to_string(),
                        event_type: subscription.event_type.clone(),
                        schema_versions: subscription.schema_versions.clone(),
                        stream_type: subscription.stream_type.clone(),
                    });
                }
            }
        }
        unseen
    }
}

impl Deployed {
    /// In which forms events of a schema come out of the upcasters.
    pub(super) fn forms(&self, schema: &EventSchema) -> BTreeSet<EventSchema> {
        self.graph.ends(schema)
    }
}

/// Whether events of these forms in streams of this type meet a subscription.
pub(super) fn meets(subscription: &Subscription, forms: &BTreeSet<EventSchema>, stream_type: &str) -> bool {
    let one = std::slice::from_ref(subscription);
    forms.iter().any(|form| takes(one, form, stream_type))
}

fn matches(subscription: &Subscription, form: &EventSchema) -> bool {
    schema_matches(subscription, &form.event_type, form.schema_version)
}

fn takes(subscriptions: &[Subscription], form: &EventSchema, stream_type: &str) -> bool {
    let filter = EventFilter {
        any_of: subscriptions.to_vec(),
        ..EventFilter::default()
    };
    filter.matches(&form.event_type, form.schema_version, stream_type)
}
