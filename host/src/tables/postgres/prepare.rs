//! Before a switch: what it has to do to each public name, and the gated views.
//!
//! A gated view is made name by name, each in a transaction of its own. Two views in one transaction would deadlock
//! with readers that join them in the other order.

use std::collections::BTreeSet;

use sqlx::{Executor as _, PgConnection};

use super::locks::{self, Patience};
use super::session::{Failure, Session};
use super::views::{self, ViewColumn};
use super::{control, finish, gate};
use crate::core::GenerationId;
use crate::tables::diff::SchemaDiff;
use crate::tables::{Finish, GenerationRecord, GenerationState, StoreError, Switch};

/// A public name and the columns that its view is to have.
pub(super) struct Target {
    pub(super) name: String,
    pub(super) columns: Vec<ViewColumn>,
}

/// What a switch does to the public names.
pub(super) struct Plan {
    pub(super) from: Option<GenerationRecord>,
    pub(super) to: GenerationRecord,
    /// Shown by both; the view is to be gated before the switch.
    pub(super) gate: Vec<Target>,
    /// New names; made in the switch.
    pub(super) create: Vec<Target>,
    /// Names whose shape breaks; dropped and made anew in the switch.
    pub(super) replace: Vec<Target>,
    /// Names that go; dropped in the switch.
    pub(super) remove: Vec<String>,
}

/// Decides what a switch has to do, and refuses it by name where it cannot be done.
pub(super) async fn plan(connection: &mut PgConnection, switch: &Switch) -> Result<Plan, Failure> {
    let to = control::generation(connection, switch.to).await?;
    if to.projection != switch.projection
        || matches!(to.state, GenerationState::Live | GenerationState::Failed)
    {
        let state = if to.state == GenerationState::Live {
            "live already"
        } else {
            "failed"
        };
        let state = if to.projection == switch.projection {
            state
        } else {
            "another projection's"
        };
        return Err(StoreError::SwitchRefused(format!(
            "{} cannot be switched to generation {}: it is {state}",
            switch.projection, switch.to
        ))
        .into());
    }
    let from = match switch.from {
        Some(id) => Some(control::generation(connection, id).await?),
        None => None,
    };
    let public = gate(connection, &switch.projection, "").await?;
    check_public(switch, public)?;

    let mut plan = Plan {
        from,
        to,
        gate: vec![],
        create: vec![],
        replace: vec![],
        remove: vec![],
    };
    let recorded = views::recorded(connection, Some(&switch.projection)).await?;
    let mut refused = Vec::new();
    for table in &plan.to.descriptor.tables {
        views::check_name(connection, &switch.projection, &table.name).await?;
        let wanted = views::declared(&plan.to, &table.name).unwrap_or_default();
        let old = plan
            .from
            .as_ref()
            .and_then(|from| from.descriptor.tables.iter().find(|old| old.name == table.name));
        let Some(old) = old else {
            plan.create.push(Target {
                name: table.name.clone(),
                columns: wanted,
            });
            continue;
        };
        let present = views::columns(connection, &table.name).await?;
        let difference = SchemaDiff::between(std::slice::from_ref(old), std::slice::from_ref(table));
        let columns = match difference {
            // A generation that was public before may come back without the columns that a later one had brought:
            // they stay in the view as NULL, so that no reader waits or fails.
            SchemaDiff::Breaking(_)
                if plan.to.live_at.is_some()
                    && !switch.breaking
                    && views::extended(&present, &wanted).is_some() =>
            {
                views::extended(&present, &wanted)
            }
            SchemaDiff::Breaking(changes) => {
                refused.extend(changes);
                None
            }
            _ => {
                let columns = views::extended(&present, &wanted);
                if columns.is_none() {
                    refused.push(format!(
                        "the view of table '{}' has a column of another type, from a generation that was given up",
                        table.name
                    ));
                }
                columns
            }
        };
        let view = recorded.iter().find(|view| view.name == table.name);
        match columns {
            None => plan.replace.push(Target {
                name: table.name.clone(),
                columns: wanted,
            }),
            Some(columns) => {
                let both = BTreeSet::from_iter(switch.from.into_iter().chain([switch.to]));
                let shown = view.map(|view| view.branches.iter().copied().collect::<BTreeSet<_>>());
                if shown.is_none_or(|shown| !shown.is_superset(&both)) || columns != present {
                    plan.gate.push(Target {
                        name: table.name.clone(),
                        columns,
                    });
                }
            }
        }
    }
    for view in recorded {
        if !plan
            .to
            .descriptor
            .tables
            .iter()
            .any(|table| table.name == view.name)
        {
            // A rollback may take back a table that the newer version had brought.
            if plan.to.live_at.is_none() {
                refused.push(format!("table '{}' is removed", view.name));
            }
            plan.remove.push(view.name);
        }
    }
    if !switch.breaking && !refused.is_empty() {
        return Err(StoreError::SwitchRefused(format!(
            "switching {} to generation {} would break readers: {}. If that is wanted, run `lamphouse cutover {} \
             --breaking`",
            switch.projection,
            switch.to,
            refused.join("; "),
            switch.projection
        ))
        .into());
    }
    for target in &plan.replace {
        let why = format!("the public table {} has to be made anew", target.name);
        views::check_dependents(connection, &target.name, &why).await?;
    }
    for name in &plan.remove {
        views::check_dependents(connection, name, &format!("the public table {name} has to go")).await?;
    }
    Ok(plan)
}

/// Refuses if something else is public than the switch starts from.
pub(super) fn check_public(switch: &Switch, public: Option<GenerationId>) -> Result<(), StoreError> {
    if public == switch.from {
        return Ok(());
    }
    let said = |id: Option<GenerationId>| id.map_or_else(|| "nothing".to_owned(), |id| id.to_string());
    Err(StoreError::SwitchRefused(format!(
        "{} now shows {}, not {}: somebody else switched it. Look at `lamphouse status` and decide anew",
        switch.projection,
        said(public),
        said(switch.from)
    )))
}

/// Makes every view that both generations share able to show either. Does nothing where that is so already.
pub(super) fn prepare(session: &mut Session, switch: &Switch) -> Result<(), StoreError> {
    let what = format!("preparing the switch of {} to {}", switch.projection, switch.to);
    let (mut plan, blocked) = session.run(&what, async |connection| {
        let blocked = keeps_another(connection, switch).await?;
        Ok((plan(connection, switch).await?, blocked))
    })?;
    if plan.gate.is_empty() {
        return Ok(());
    }
    // Readers may still have a snapshot from before the last switch. A view has to keep the generation that they see.
    if blocked {
        if let Finish::Waiting(who) = finish::finish(session, &switch.projection)? {
            return Err(StoreError::Unavailable(format!(
                "the switch of {} to {} waits for the end of the one before: {who}",
                switch.projection, switch.to
            )));
        }
        plan = session.run(&what, async |connection| self::plan(connection, switch).await)?;
    }
    for target in &plan.gate {
        let branches: Vec<&GenerationRecord> = plan.from.iter().chain([&plan.to]).collect();
        locks::retrying(
            session,
            &what,
            Patience::Long,
            Some(&target.name),
            async |connection, wait| {
                connection.execute("BEGIN").await?;
                locks::wait_for_locks(connection, wait).await?;
                check_public(switch, gate(connection, &switch.projection, "FOR SHARE").await?)?;
                if keeps_another(connection, switch).await? {
                    return Err(StoreError::Unavailable(format!(
                        "{what} met another switch; it is tried again"
                    ))
                    .into());
                }
                views::put(
                    connection,
                    &switch.projection,
                    &target.name,
                    &target.columns,
                    &branches,
                    true,
                )
                .await?;
                connection.execute("COMMIT").await?;
                Ok(())
            },
        )?;
    }
    Ok(())
}

/// Whether the last switch is not finished and readers may still look at a generation that is not of this one.
async fn keeps_another(connection: &mut PgConnection, switch: &Switch) -> Result<bool, Failure> {
    let last = finish::unfinished(connection, &switch.projection).await?;
    Ok(last.is_some_and(|last| last.others(switch.from, switch.to)))
}
