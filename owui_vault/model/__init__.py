"""The values that cross module borders: frozen, typed, without behaviour that touches anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from owui_vault.lazy_names import lazy_names

if TYPE_CHECKING:
    from owui_vault.model.basics import NAME_PATTERN as NAME_PATTERN
    from owui_vault.model.basics import NEVER as NEVER
    from owui_vault.model.basics import TAG_PATTERN as TAG_PATTERN
    from owui_vault.model.basics import Answered as Answered
    from owui_vault.model.basics import Asking as Asking
    from owui_vault.model.basics import Complaint as Complaint
    from owui_vault.model.basics import Component as Component
    from owui_vault.model.basics import ComponentKind as ComponentKind
    from owui_vault.model.basics import Compression as Compression
    from owui_vault.model.basics import Deadline as Deadline
    from owui_vault.model.basics import InstanceState as InstanceState
    from owui_vault.model.basics import Listening as Listening
    from owui_vault.model.basics import Notice as Notice
    from owui_vault.model.basics import NoticeSink as NoticeSink
    from owui_vault.model.basics import OllamaModels as OllamaModels
    from owui_vault.model.basics import Outcome as Outcome
    from owui_vault.model.basics import Progress as Progress
    from owui_vault.model.basics import ProgressSink as ProgressSink
    from owui_vault.model.basics import Proof as Proof
    from owui_vault.model.basics import Providers as Providers
    from owui_vault.model.basics import Quiesce as Quiesce
    from owui_vault.model.basics import Secret as Secret
    from owui_vault.model.basics import Step as Step
    from owui_vault.model.basics import VerifyDepth as VerifyDepth
    from owui_vault.model.basics import Waiting as Waiting
    from owui_vault.model.basics import ignore_notice as ignore_notice
    from owui_vault.model.basics import ignore_progress as ignore_progress
    from owui_vault.model.capture import Captured as Captured
    from owui_vault.model.capture import CaptureLimits as CaptureLimits
    from owui_vault.model.capture import CapturePlan as CapturePlan
    from owui_vault.model.capture import Findings as Findings
    from owui_vault.model.checks import CURED as CURED
    from owui_vault.model.checks import FULL as FULL
    from owui_vault.model.checks import QUICK as QUICK
    from owui_vault.model.checks import FullCheck as FullCheck
    from owui_vault.model.config_reports import ConfigurationReport as ConfigurationReport
    from owui_vault.model.config_reports import EffectiveSettings as EffectiveSettings
    from owui_vault.model.config_reports import Setting as Setting
    from owui_vault.model.containers import ComposeService as ComposeService
    from owui_vault.model.containers import ContainerRecord as ContainerRecord
    from owui_vault.model.containers import DataMount as DataMount
    from owui_vault.model.events import Beat as Beat
    from owui_vault.model.events import BeatKind as BeatKind
    from owui_vault.model.events import Event as Event
    from owui_vault.model.events import EventKind as EventKind
    from owui_vault.model.manifest import ALL as ALL
    from owui_vault.model.manifest import ENCRYPTED as ENCRYPTED
    from owui_vault.model.manifest import KINDS as KINDS
    from owui_vault.model.manifest import MANIFEST_FORMAT as MANIFEST_FORMAT
    from owui_vault.model.manifest import ApplicationRecord as ApplicationRecord
    from owui_vault.model.manifest import AttributeRecord as AttributeRecord
    from owui_vault.model.manifest import CollectionRecord as CollectionRecord
    from owui_vault.model.manifest import ComponentRecord as ComponentRecord
    from owui_vault.model.manifest import DatabaseRecord as DatabaseRecord
    from owui_vault.model.manifest import ExtendedRecord as ExtendedRecord
    from owui_vault.model.manifest import FileRecord as FileRecord
    from owui_vault.model.manifest import LedgerEntry as LedgerEntry
    from owui_vault.model.manifest import LeftOut as LeftOut
    from owui_vault.model.manifest import Manifest as Manifest
    from owui_vault.model.manifest import OllamaModel as OllamaModel
    from owui_vault.model.manifest import OwnerRecord as OwnerRecord
    from owui_vault.model.manifest import ProofRecord as ProofRecord
    from owui_vault.model.manifest import ScheduledWork as ScheduledWork
    from owui_vault.model.manifest import SecretKeyRecord as SecretKeyRecord
    from owui_vault.model.manifest import SqliteLibrary as SqliteLibrary
    from owui_vault.model.plans import CronSchedule as CronSchedule
    from owui_vault.model.plans import IntervalSchedule as IntervalSchedule
    from owui_vault.model.plans import Plan as Plan
    from owui_vault.model.plans import PlannedReplication as PlannedReplication
    from owui_vault.model.plans import Punctuality as Punctuality
    from owui_vault.model.plans import Schedule as Schedule
    from owui_vault.model.replacement import DiscardReport as DiscardReport
    from owui_vault.model.replacement import ReplacementPlan as ReplacementPlan
    from owui_vault.model.replacement import ReplacementReport as ReplacementReport
    from owui_vault.model.replacement import SetAside as SetAside
    from owui_vault.model.replacement import UndoReport as UndoReport
    from owui_vault.model.replication import CopyWay as CopyWay
    from owui_vault.model.replication import ReplicationPlan as ReplicationPlan
    from owui_vault.model.replication import ReplicationReport as ReplicationReport
    from owui_vault.model.replication import ReplicationResult as ReplicationResult
    from owui_vault.model.replication import RepositoryReplication as RepositoryReplication
    from owui_vault.model.reports import ComponentSize as ComponentSize
    from owui_vault.model.reports import InitializeReport as InitializeReport
    from owui_vault.model.reports import InitializeResult as InitializeResult
    from owui_vault.model.reports import InstanceReport as InstanceReport
    from owui_vault.model.reports import PinReport as PinReport
    from owui_vault.model.reports import PinResult as PinResult
    from owui_vault.model.reports import PruneReport as PruneReport
    from owui_vault.model.reports import PruneResult as PruneResult
    from owui_vault.model.reports import RecoverReport as RecoverReport
    from owui_vault.model.reports import RepositoryResult as RepositoryResult
    from owui_vault.model.reports import RestoreReport as RestoreReport
    from owui_vault.model.reports import SnapshotReport as SnapshotReport
    from owui_vault.model.reports import VerifiedPart as VerifiedPart
    from owui_vault.model.reports import VerifyReport as VerifyReport
    from owui_vault.model.retention import Collapse as Collapse
    from owui_vault.model.retention import CollapseLimits as CollapseLimits
    from owui_vault.model.retention import Kept as Kept
    from owui_vault.model.retention import PrunePlan as PrunePlan
    from owui_vault.model.retention import RepositoryPrune as RepositoryPrune
    from owui_vault.model.retention import RetentionPolicy as RetentionPolicy
    from owui_vault.model.retention import TagPolicy as TagPolicy
    from owui_vault.model.runs import Decision as Decision
    from owui_vault.model.runs import ErrorNote as ErrorNote
    from owui_vault.model.runs import PlanStep as PlanStep
    from owui_vault.model.runs import RunList as RunList
    from owui_vault.model.runs import RunOutcome as RunOutcome
    from owui_vault.model.runs import RunRecord as RunRecord
    from owui_vault.model.runs import RunReport as RunReport
    from owui_vault.model.runs import StepRecord as StepRecord
    from owui_vault.model.runs import StepResult as StepResult
    from owui_vault.model.schedules import InstalledSchedule as InstalledSchedule
    from owui_vault.model.schedules import Scheduler as Scheduler
    from owui_vault.model.schedules import ScheduleReport as ScheduleReport
    from owui_vault.model.sealing import KeyTrial as KeyTrial
    from owui_vault.model.sealing import SealedValues as SealedValues
    from owui_vault.model.sealing import Sealing as Sealing
    from owui_vault.model.sealing import TryKey as TryKey
    from owui_vault.model.sealing import untried as untried
    from owui_vault.model.snapshots import LABEL_FORMAT as LABEL_FORMAT
    from owui_vault.model.snapshots import Entry as Entry
    from owui_vault.model.snapshots import Label as Label
    from owui_vault.model.snapshots import LaterLabel as LaterLabel
    from owui_vault.model.snapshots import RepositoryInfo as RepositoryInfo
    from owui_vault.model.snapshots import SkippedFile as SkippedFile
    from owui_vault.model.snapshots import Snapshot as Snapshot
    from owui_vault.model.snapshots import SnapshotList as SnapshotList
    from owui_vault.model.snapshots import StoreReceipt as StoreReceipt
    from owui_vault.model.snapshots import UnansweredRepository as UnansweredRepository
    from owui_vault.model.status import Page as Page
    from owui_vault.model.status import Pages as Pages
    from owui_vault.model.status import PlanState as PlanState
    from owui_vault.model.status import PointFact as PointFact
    from owui_vault.model.status import RepositorySpace as RepositorySpace
    from owui_vault.model.status import RepositoryState as RepositoryState
    from owui_vault.model.status import StatusReport as StatusReport
    from owui_vault.model.status import Verdict as Verdict

#: Where each name lives; type checkers read the same above.
_HOME = {
    "owui_vault.model.basics": (
        "Answered Asking Complaint Component ComponentKind Compression Deadline InstanceState Listening NAME_PATTERN "
        "NEVER Notice NoticeSink OllamaModels Outcome Progress ProgressSink Proof Providers Quiesce Secret Step "
        "TAG_PATTERN VerifyDepth Waiting ignore_notice ignore_progress"
    ),
    "owui_vault.model.capture": "Captured CaptureLimits CapturePlan Findings",
    "owui_vault.model.checks": "CURED FULL QUICK FullCheck",
    "owui_vault.model.config_reports": "ConfigurationReport EffectiveSettings Setting",
    "owui_vault.model.containers": "ComposeService ContainerRecord DataMount",
    "owui_vault.model.manifest": (
        "ALL ENCRYPTED KINDS MANIFEST_FORMAT ApplicationRecord AttributeRecord CollectionRecord ComponentRecord "
        "DatabaseRecord ExtendedRecord FileRecord LedgerEntry LeftOut Manifest OllamaModel OwnerRecord "
        "ProofRecord ScheduledWork SecretKeyRecord SqliteLibrary"
    ),
    "owui_vault.model.events": "Beat BeatKind Event EventKind",
    "owui_vault.model.plans": "CronSchedule IntervalSchedule Plan PlannedReplication Punctuality Schedule",
    "owui_vault.model.replacement": "DiscardReport ReplacementPlan ReplacementReport SetAside UndoReport",
    "owui_vault.model.reports": (
        "ComponentSize InitializeReport InitializeResult InstanceReport PinReport PinResult PruneReport "
        "PruneResult RecoverReport RepositoryResult RestoreReport SnapshotReport VerifiedPart VerifyReport"
    ),
    "owui_vault.model.replication": (
        "CopyWay ReplicationPlan ReplicationReport ReplicationResult RepositoryReplication"
    ),
    "owui_vault.model.retention": ("Collapse CollapseLimits Kept PrunePlan RepositoryPrune RetentionPolicy TagPolicy"),
    "owui_vault.model.runs": (
        "Decision ErrorNote PlanStep RunList RunOutcome RunRecord RunReport StepRecord StepResult"
    ),
    "owui_vault.model.schedules": "InstalledSchedule Scheduler ScheduleReport",
    "owui_vault.model.sealing": "KeyTrial SealedValues Sealing TryKey untried",
    "owui_vault.model.snapshots": (
        "LABEL_FORMAT Entry Label LaterLabel RepositoryInfo SkippedFile Snapshot SnapshotList StoreReceipt "
        "UnansweredRepository"
    ),
    "owui_vault.model.status": "Page Pages PlanState PointFact RepositorySpace RepositoryState StatusReport Verdict",
}
__getattr__, __dir__ = lazy_names(__name__, _HOME)
