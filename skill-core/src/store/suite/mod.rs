//! What every store must do, as cases to run from a store's own tests.
//!
//! Each case is one promise of the traits' docs and takes an empty store. [`CASES`] lists them all;
//! [`for_each_store_case!`](crate::for_each_store_case) makes one test of each:
//!
//! ```text
//! macro_rules! cases {
//!     ($($part:ident::$case:ident,)*) => {$(
//!         #[tokio::test(flavor = "multi_thread")]
//!         async fn $case() {
//!             suite::run(stringify!($case), open_an_empty_store()).await;
//!         }
//!     )*};
//! }
//! skill_core::for_each_store_case!(cases);
//! ```
//!
//! Stores that outlive their process run [`survives_reopening`] as well.

// A case fails by panicking, wherever it is called from.
#![allow(clippy::unwrap_used)]

mod agent;
mod app;
mod attempt;
mod audit;
mod connection;
mod conversation;
mod execution;
mod fixture;
mod flow;
mod grant;
mod idempotency;
mod key;
mod lease;
mod listing;
mod login;
mod meta;
mod outbox;
mod owner;
mod queue;
mod reopen;
mod rotation;
mod schedule;
mod trigger;
mod turns;
mod upkeep;
mod usage;
mod webhook;

use std::sync::Arc;

use futures_util::future::BoxFuture;

pub use self::reopen::survives_reopening;
use crate::store::Store;

/// A promise, to be tested on an empty store.
pub type Case = fn(Arc<dyn Store>) -> BoxFuture<'static, ()>;

/// Runs the case of this name on an empty store.
///
/// # Panics
/// When the store breaks the promise, or no case is called so.
pub async fn run(name: &str, store: Arc<dyn Store>) {
    let case = CASES.iter().find(|(known, _)| *known == name);
    let (_, case) = case.unwrap_or_else(|| panic!("no case is called {name}"));
    case(store).await;
}

/// Calls the macro that is named with the part and the name of every case.
#[macro_export]
macro_rules! for_each_store_case {
    ($then:ident) => {
        $then! {
            agent::a_deleted_agent_takes_its_memories_along,
            agent::agents_are_capped_and_listed_the_oldest_first,
            agent::an_agent_reads_back_as_it_was_kept,
            agent::another_owners_agent_acts_like_a_missing_one,
            agent::memories_are_listed_by_tag_and_user_the_newest_first,
            agent::memories_belong_to_an_agent_that_is_there,
            app::a_replaced_app_is_the_later_one,
            app::another_owners_app_acts_like_a_missing_one,
            app::an_app_reads_back_as_it_was_kept,
            app::apps_are_listed_the_newest_first,
            app::every_owner_may_use_the_systems_apps,
            app::an_app_that_is_in_use_is_spared,
            attempt::a_begun_run_is_ended_too,
            attempt::a_finish_and_an_end_at_once_agree,
            attempt::a_finish_beats_late_cancelling,
            attempt::a_lost_lease_changes_nothing,
            attempt::a_note_of_sending_outlives_its_worker,
            attempt::a_queued_run_is_ended_before_it_began,
            attempt::a_run_ends_with_its_outcome,
            attempt::a_run_that_is_given_back_waits_for_its_time,
            attempt::adopting_finds_lost_calls_at_once,
            attempt::an_extended_lease_lapses_later,
            attempt::an_undone_attempt_does_not_count,
            attempt::another_workers_lease_is_nobody_elses,
            attempt::bodies_are_kept_with_a_call,
            attempt::cancelling_beats_a_late_finish,
            attempt::ending_a_run_notes_what_it_used,
            attempt::ending_needs_a_final_state,
            attempt::lost_calls_are_found,
            attempt::of_two_extensions_the_longer_one_stands,
            attempt::pruning_takes_what_belongs_to_a_run_and_no_run_that_waits,
            attempt::steps_are_kept_until_the_end,
            audit::entries_are_listed_the_newest_first,
            audit::entries_of_another_owner_are_not_seen,
            connection::a_connection_reads_back_as_it_was_kept,
            connection::an_update_changes_what_may_change_and_nothing_else,
            connection::an_abandoned_connection_gives_its_place_back,
            connection::another_owners_connection_acts_like_a_missing_one,
            connection::connections_are_capped,
            connection::connections_are_listed_the_oldest_first,
            connection::deleting_a_connection_deletes_what_belongs_to_it,
            connection::one_connection_is_the_default,
            connection::resting_connections_are_found_the_longest_first,
            connection::parallel_connections_stop_at_the_cap,
            connection::no_connection_is_the_default_by_itself,
            conversation::a_conversation_stands_as_its_runs_do,
            conversation::a_run_of_no_conversation_is_in_no_listing,
            conversation::conversations_are_listed_by_filter,
            conversation::what_a_run_says_is_kept_once_and_under_its_lease,
            execution::a_begun_run_ends_once,
            execution::a_run_reads_back_as_it_was_kept,
            execution::another_owners_run_acts_like_a_missing_one,
            execution::many_runs_are_kept_as_one_is,
            execution::pruning_leaves_what_is_young_or_unfinished,
            execution::pruning_takes_as_many_as_it_was_told,
            execution::runs_are_counted_by_filter,
            execution::runs_are_listed_the_newest_first,
            execution::use_is_noted_and_never_goes_back,
            flow::a_departed_flow_outlives_its_link,
            flow::a_flow_may_come_before_its_connection,
            flow::a_flow_reads_back_as_it_was_kept,
            flow::a_link_ends,
            flow::a_link_is_used_once,
            flow::a_link_may_end_without_a_departure,
            flow::a_state_ends,
            flow::a_state_is_used_once,
            flow::another_browser_uses_nothing_up,
            flow::ended_flows_are_swept,
            flow::parallel_arrivals_let_one_in,
            flow::parallel_departures_let_one_go,
            grant::a_destroyed_grants_revision_never_comes_back,
            grant::a_grant_is_written_at_the_revision_seen_only,
            grant::a_grant_needs_its_connection,
            grant::another_owner_or_user_finds_no_grant,
            grant::pages_show_every_grant_once,
            grant::parallel_replacements_at_one_revision_let_one_win,
            idempotency::a_repeat_finds_the_outcome,
            idempotency::a_repeat_with_other_inputs_differs,
            idempotency::a_run_that_ended_keeps_its_outcome,
            idempotency::a_run_that_ends_without_an_outcome_frees_its_key,
            idempotency::a_run_that_never_ends_is_running,
            idempotency::an_expired_repeat_is_a_new_run,
            idempotency::parallel_repeats_begin_one_run,
            idempotency::the_outcome_outlives_the_run,
            idempotency::the_scope_is_owner_action_and_key,
            key::a_change_of_a_key_leaves_the_rest,
            key::a_key_reads_back_as_it_was_kept,
            key::a_revoked_key_keeps_its_time,
            key::a_taken_identity_is_refused,
            key::another_owners_key_acts_like_a_missing_one,
            key::keys_are_listed_the_newest_first,
            key::parallel_keys_stop_at_the_cap,
            key::the_cap_counts_live_keys,
            lease::a_lease_is_one_owners_and_users,
            lease::a_lease_lapses,
            lease::a_lease_needs_no_grant,
            lease::only_the_holder_gives_a_lease_back,
            lease::parallel_claims_let_one_hold_the_lease,
            lease::the_holder_takes_a_lease_again,
            listing::a_cursor_shows_every_run_once,
            listing::calls_of_a_run_are_listed_apart,
            listing::runs_are_listed_by_what_is_asked,
            listing::totals_follow_a_run_through_its_states,
            login::a_login_ends_once_and_only_with_an_answer,
            login::a_login_is_answered_once,
            login::a_login_reads_back_as_it_was_kept,
            login::codes_end,
            login::logins_are_capped_and_swept,
            meta::a_fact_is_kept_once,
            meta::a_fresh_store_has_an_epoch,
            meta::a_working_store_answers,
            meta::parallel_claims_agree_on_one_fact,
            outbox::a_broken_endpoint_holds_up_nobody_else,
            outbox::a_connection_is_announced_when_it_works_expires_and_goes,
            outbox::a_delivery_is_claimed_once_and_settled_by_its_holder,
            outbox::a_delivery_that_is_lost_is_due_again,
            outbox::a_run_is_announced_once_however_it_ends,
            outbox::adopted_deliveries_are_due_at_once,
            outbox::another_owners_delivery_acts_like_a_missing_one,
            outbox::deliveries_are_listed_the_newest_first,
            outbox::endpoints_take_turns,
            outbox::many_claimers_never_get_the_same_delivery,
            outbox::nobody_is_told_what_is_not_theirs,
            outbox::old_deliveries_are_pruned,
            outbox::runs_that_are_recorded_together_are_each_announced,
            outbox::a_delivery_is_sent_again_by_hand,
            outbox::what_is_kept_stirs_whoever_waits,
            owner::a_plan_is_set_and_taken_back,
            owner::an_owner_is_made_on_first_use,
            owner::an_owners_return_urls_are_its_own,
            owner::parallel_first_uses_make_one_owner,
            rotation::a_key_that_ended_is_not_replaced,
            rotation::a_key_that_is_replaced_at_once_is_revoked,
            rotation::a_replaced_key_does_not_count_against_its_successor,
            rotation::a_replaced_key_ends_no_later_than_it_would,
            rotation::a_replaced_key_goes_on_until_its_end,
            rotation::a_rotation_that_fails_changes_nothing,
            rotation::parallel_rotations_at_once_let_one_win,
            queue::a_begun_run_is_found_by_the_queue,
            queue::a_failed_submit_counts_nothing,
            queue::a_queued_run_and_a_begun_one_share_their_keys,
            queue::a_queued_run_reads_back_as_it_was_kept,
            queue::a_queued_run_that_ends_without_an_outcome_frees_its_key,
            queue::a_repeat_is_found_where_the_queue_is_full,
            queue::a_repeat_of_a_queued_run_is_the_same_run,
            queue::a_run_may_be_claimed_as_it_is_queued,
            queue::a_run_that_has_to_wait_is_not_claimed_as_it_is_queued,
            queue::all_runs_are_queued_or_none,
            queue::another_owners_queued_run_acts_like_a_missing_one,
            queue::parallel_repeats_queue_one_run,
            queue::parallel_submits_stop_at_the_depth,
            queue::the_depth_is_each_owners,
            queue::the_outcome_outlives_a_queued_run,
            schedule::a_due_time_makes_one_run_whoever_fires_it,
            schedule::a_due_time_without_a_run_is_announced,
            schedule::a_full_queue_leaves_a_schedule_due,
            schedule::a_schedule_changes_only_as_it_was_seen,
            schedule::a_schedule_reads_back_as_it_was_kept,
            schedule::another_owners_schedule_acts_like_a_missing_one,
            schedule::due_schedules_come_in_the_order_of_their_times,
            schedule::parallel_schedules_stop_at_the_cap,
            schedule::runs_of_no_agent_are_told_to_no_agents_subscribers,
            schedule::the_end_of_a_scheduled_run_is_announced_as_one,
            trigger::a_single_run_is_told_of_once_however_it_ends,
            trigger::a_trigger_reads_back_as_it_was_kept,
            trigger::another_owners_trigger_acts_like_a_missing_one,
            trigger::parallel_triggers_stop_at_the_cap,
            trigger::what_began_a_run_goes_with_it,
            turns::a_claim_takes_as_many_as_it_wants,
            turns::a_delayed_run_does_not_hold_up_others,
            turns::a_full_group_holds_up_nobody_else,
            turns::a_group_bounds_what_runs_at_once,
            turns::a_group_is_one_owners_in_every_integration,
            turns::a_jump_of_the_clock_leaves_a_group_its_bound,
            turns::a_lapsed_lease_is_taken_over_as_a_crash,
            turns::adopted_leases_lapse_at_once,
            turns::integrations_of_one_owner_take_turns,
            turns::lapsed_runs_wait_their_turn,
            turns::many_claimers_never_get_the_same_run,
            turns::nothing_runs_before_its_time,
            turns::owners_take_turns,
            turns::saturated_owners_wait,
            turns::submits_and_claimers_at_once_run_everything_once,
            turns::the_next_due_time_is_known,
            turns::the_order_is_priority_time_and_age,
            turns::turns_begin_behind_the_lane_that_was_served_last,
            upkeep::a_held_run_goes_on_when_it_is_released,
            upkeep::a_new_epoch_holds_what_had_not_ended,
            upkeep::every_owner_is_found,
            upkeep::facts_are_listed_and_forgotten,
            upkeep::grants_are_doubted_until_they_are_renewed,
            upkeep::only_what_still_stands_is_resealed,
            upkeep::sealed_values_of_every_part_are_found_by_their_key,
            usage::a_clock_that_was_set_back_blocks_for_two_windows_at_most,
            usage::a_grant_leaves_with_its_window,
            usage::a_late_reading_of_the_clock_sees_its_window,
            usage::limits_are_apart_by_owner_subject_and_window,
            usage::other_processes_are_shown,
            usage::parallel_nodes_never_exceed_the_limit,
            usage::random_nodes_never_exceed_the_limit,
            usage::what_was_not_spent_comes_back,
            usage::what_was_spent_counts,
            webhook::a_deleted_webhook_is_gone,
            webhook::a_disabled_webhook_keeps_its_first_reason,
            webhook::a_replaced_secret_stays_beside_the_new_one,
            webhook::a_webhook_reads_back_as_it_was_kept,
            webhook::an_edited_webhook_is_another_one_under_its_name,
            webhook::another_owners_webhook_acts_like_a_missing_one,
            webhook::parallel_webhooks_stop_at_the_cap,
            webhook::webhooks_are_listed_the_newest_first,
        }
    };
}

macro_rules! list {
    ($($part:ident::$case:ident,)*) => {
        /// Every case and its name.
        pub const CASES: &[(&str, Case)] =
            &[$((stringify!($case), |store| Box::pin($part::$case(store))),)*];
    };
}

for_each_store_case!(list);
