//! One file a rule.

crate::registry::registry! {
    "ephemeral-ports-exhausted" => ephemeral_ports_exhausted,
    "time-wait-at-client" => time_wait_at_client,
    "time-wait-at-server" => time_wait_at_server,
    "time-wait-table-full" => time_wait_table_full,
    "time-wait-table-small" => time_wait_table_small,
    "syn-meets-time-wait" => syn_meets_time_wait,
    "timestamps-behind-nat" => timestamps_behind_nat,
    "time-wait-recycle" => time_wait_recycle,
    "reuse-without-effect" => reuse_without_effect,
    "fin-timeout-misread" => fin_timeout_misread,
    "close-wait-leak" => close_wait_leak,
    "fin-wait-2-waiting" => fin_wait_2_waiting,
    "last-ack-unanswered" => last_ack_unanswered,
    "abort-instead-of-close" => abort_instead_of_close,
    "accept-queue-full" => accept_queue_full,
    "conntrack-full" => conntrack_full,
    "bind-without-reuseaddr" => bind_without_reuseaddr,
    "listener-in-ephemeral-range" => listener_in_ephemeral_range,
}
