"""What makes each alert fire: the series that differ from those of a quiet hour.

Values are in promtool's notation: `0x70` is 0, seventy times more; `0+1x70` counts up by one.
"""

from collections.abc import Mapping
from typing import NamedTuple

C = 'cluster="c1"'
API = f'{C},api="AttachNetworkInterface"'
CALLS = f"eni_ledger_cloud_calls_total{{{API}"
VSWITCH = f'{C},vswitch="vsw-1",zone="h"'
BIND = f'eni_ledger_bind_seconds_bucket{{{C},stage="all"'
REVIEW = f'eni_ledger_admission_seconds_bucket{{{C},path="/pod"'

#: All is well, seen from two replicas of the reconciler.
BASE: Mapping[str, str] = {
    f'eni_ledger_build_info{{{C},version="0"}}': "1x90",
    f"eni_ledger_measured_timestamp_seconds{{{C}}}": "0+60x90",
    f'eni_ledger_pods_waiting{{{C},over_s="0"}}': "5x90",
    f'eni_ledger_pods_waiting{{{C},over_s="120"}}': "0x90",
    f'{BIND},le="30.0"}}': "0+60x90",
    f'{BIND},le="60.0"}}': "0+60x90",
    f'{BIND},le="+Inf"}}': "0+60x90",
    f"eni_ledger_allocations_parked{{{C}}}": "0x90",
    f"eni_ledger_pods_missed_by_admission_total{{{C}}}": "3x90",
    f"eni_ledger_podenis_restored_total{{{C}}}": "0x30 1x60",
    f'eni_ledger_watermark_age_seconds{{{C},entity="pod"}}': "1x90",
    f'eni_ledger_intake_lag_records{{{C},topic="t",partition="0"}}': "40x90",
    f'eni_ledger_watcher_unreadable_total{{{C},entity="pod"}}': "0x90",
    f'eni_ledger_watcher_too_large_total{{{C},topic="t"}}': "0x90",
    f'{REVIEW},le="1.0"}}': "0+60x90",
    f'{REVIEW},le="2.5"}}': "0+60x90",
    f'{REVIEW},le="+Inf"}}': "0+60x90",
    f'{CALLS},outcome="done",code=""}}': "0+60x90",
    f'{CALLS},outcome="refused",code="X"}}': "0+2x90",
    f'{CALLS},outcome="unknown",code=""}}': "0+1x90",
    f'{CALLS},outcome="throttled",code="Throttling"}}': "0x90",
    f"eni_ledger_cloud_budget_used_ratio{{{API}}}": "0.95 0.2 0.95 0.2 0.95 0.2x90",
    f"eni_ledger_cloud_calls_overdue{{{C}}}": "0x90",
    f"eni_ledger_vswitch_free_ips{{{VSWITCH}}}": "100x90",
    f"eni_ledger_vswitch_size_ips{{{VSWITCH}}}": "252x90",
    f'eni_ledger_member_slots{{{C},zone="h",use="free"}}': "0x5 3x85",
    f'eni_ledger_member_slots{{{C},zone="h",use="attached"}}': "7x90",
    f"eni_ledger_sweep_age_seconds{{{C}}}": "40x90",
    f'eni_ledger_ready{{{C},job="r",instance="a",part="work"}}': "1x90",
    f'eni_ledger_work_overdue_seconds{{{C},kind="pod"}}': "0.1x90",
    f'eni_ledger_work_failing{{{C},kind="pod"}}': "0x90",
    f"eni_ledger_reconciler_claims_lost_total{{{C}}}": "0+0.2x90",
    f"eni_ledger_outbox_lag_entries{{{C}}}": "12x90",
    f"eni_ledger_unsealed_seconds{{{C}}}": "2x90",
}


class Case(NamedTuple):
    """These series instead ("" leaves one out), and at that minute the alert fires; `beside` are
    others that rightly fire with it."""

    series: Mapping[str, str]
    minutes: int = 20
    beside: tuple[str, ...] = ()


def brake(by: str, scope: str = "destructive") -> str:
    """The series of a brake that somebody pulled."""
    return f'eni_ledger_brake{{{C},scope="{scope}",by="{by}"}}'


CASES: Mapping[str, Case] = {
    "EniLedgerPodsWait": Case({f'eni_ledger_pods_waiting{{{C},over_s="120"}}': "3x90"}, 10),
    "EniLedgerBindSlow": Case({f'{BIND},le="30.0"}}': "0+50x90"}, 25),
    "EniLedgerParked": Case({f"eni_ledger_allocations_parked{{{C}}}": "1x90"}),
    "EniLedgerPodsMissedByAdmission": Case(
        {f"eni_ledger_pods_missed_by_admission_total{{{C}}}": "0x10 1x80"}, 12
    ),
    "EniLedgerPodEnisFoughtOver": Case({f"eni_ledger_podenis_restored_total{{{C}}}": "0+2x90"}),
    "EniLedgerBreakerTripped": Case({brake("breaker"): "1x90"}, 1),
    "EniLedgerUnknownIntents": Case({brake("sweep"): "1x90"}, 1),
    "EniLedgerRestored": Case({brake("restore"): "1x90"}, 1),
    "EniLedgerPaused": Case({brake("person", "all"): "1x90"}, 61),
    "EniLedgerWatermarkOld": Case(
        {f'eni_ledger_watermark_age_seconds{{{C},entity="pod"}}': "1x5 31x90"}
    ),
    "EniLedgerIntakeBehind": Case(
        {
            f'eni_ledger_intake_lag_records{{{C},topic="t",partition="0"}}': "6000x90",
            f'eni_ledger_intake_lag_records{{{C},topic="t",partition="1"}}': "6000x90",
        }
    ),
    "EniLedgerDeadLetters": Case({f'eni_ledger_dead_letters{{{C},error_class="data"}}': "1x90"}),
    "EniLedgerWatcherLeavesOut": Case(
        {f'eni_ledger_watcher_unreadable_total{{{C},entity="pod"}}': "0x10 1x80"}, 12
    ),
    "EniLedgerAdmissionSlow": Case({f'{REVIEW},le="1.0"}}': "0+50x90"}),
    "EniLedgerCloudRefuses": Case({f'{CALLS},outcome="refused",code="X"}}': "0+30x90"}, 25),
    "EniLedgerCloudUnknown": Case({f'{CALLS},outcome="unknown",code=""}}': "0+30x90"}),
    "EniLedgerThrottled": Case({f'{CALLS},outcome="throttled",code="Throttling"}}': "0+1x90"}, 20),
    "EniLedgerBudgetUsedUp": Case({f"eni_ledger_cloud_budget_used_ratio{{{API}}}": "0.95x90"}),
    "EniLedgerCallsUnsettled": Case({f"eni_ledger_cloud_calls_overdue{{{C}}}": "2x90"}),
    "EniLedgerVSwitchFilling": Case({f"eni_ledger_vswitch_free_ips{{{VSWITCH}}}": "20x90"}),
    "EniLedgerVSwitchFull": Case(
        {f"eni_ledger_vswitch_free_ips{{{VSWITCH}}}": "0x90"}, 20, ("EniLedgerVSwitchFilling",)
    ),
    "EniLedgerNodesFull": Case({f'eni_ledger_member_slots{{{C},zone="h",use="free"}}': "0x90"}),
    "EniLedgerDrift": Case({f'eni_ledger_quarantined_enis{{{C},kind="leak-in-use"}}': "1x90"}),
    "EniLedgerSweepOld": Case({f"eni_ledger_sweep_age_seconds{{{C}}}": "0+60x90"}),
    # Its figures went away with the reconciler; other processes of the cluster are there.
    "EniLedgerNotMeasured": Case({f"eni_ledger_measured_timestamp_seconds{{{C}}}": ""}),
    "EniLedgerNotReady": Case(
        {f'eni_ledger_ready{{{C},job="r",instance="a",part="work"}}': "0x90"}
    ),
    "EniLedgerWorkOverdue": Case({f'eni_ledger_work_overdue_seconds{{{C},kind="pod"}}': "0+60x90"}),
    "EniLedgerWorkFails": Case({f'eni_ledger_work_failing{{{C},kind="pod"}}': "1x90"}),
    "EniLedgerClaimsLost": Case({f"eni_ledger_reconciler_claims_lost_total{{{C}}}": "0+1x90"}),
    "EniLedgerOutboxBehind": Case({f"eni_ledger_outbox_lag_entries{{{C}}}": "20000x90"}),
    "EniLedgerOutboxStopped": Case({f'eni_ledger_outbox_stopped{{{C},cause="too-large"}}': "1x90"}),
    "EniLedgerUnsealed": Case({f"eni_ledger_unsealed_seconds{{{C}}}": "0+60x90"}),
}
