"""Backups of Open WebUI: one provable instant of a running instance, into restic or borg, and back.

The names below are the public ones, besides the modules `owui_vault.ports` (what to implement) and `owui_vault.testing`
(how to prove it). They are imported when they are first used: rescues and probes are started as modules of this
package, need none of them, and must start fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from owui_vault.lazy_names import lazy_names

if TYPE_CHECKING:
    from owui_vault.assembly import check_configuration as check_configuration
    from owui_vault.assembly import effective_settings as effective_settings
    from owui_vault.assembly import open_vault as open_vault
    from owui_vault.assembly import tell_of_mistakes as tell_of_mistakes
    from owui_vault.context.context import Container as Container
    from owui_vault.context.context import DataDirectory as DataDirectory
    from owui_vault.context.context import InstanceOptions as InstanceOptions
    from owui_vault.context.context import Limits as Limits
    from owui_vault.context.context import Repository as Repository
    from owui_vault.context.context import Subscription as Subscription
    from owui_vault.engines.borg.engine import BorgEngine as BorgEngine
    from owui_vault.engines.restic.engine import ResticEngine as ResticEngine
    from owui_vault.errors import CancelledError as CancelledError
    from owui_vault.errors import CaptureError as CaptureError
    from owui_vault.errors import ConfigError as ConfigError
    from owui_vault.errors import ContentMismatchError as ContentMismatchError
    from owui_vault.errors import DeadlineExceededError as DeadlineExceededError
    from owui_vault.errors import EngineError as EngineError
    from owui_vault.errors import EngineOutputError as EngineOutputError
    from owui_vault.errors import InstanceError as InstanceError
    from owui_vault.errors import InstanceNotFoundError as InstanceNotFoundError
    from owui_vault.errors import LaterFormatError as LaterFormatError
    from owui_vault.errors import LockHeldError as LockHeldError
    from owui_vault.errors import NoSpaceError as NoSpaceError
    from owui_vault.errors import NotifyError as NotifyError
    from owui_vault.errors import NotProvenError as NotProvenError
    from owui_vault.errors import ProgramMissingError as ProgramMissingError
    from owui_vault.errors import QuiesceError as QuiesceError
    from owui_vault.errors import RepositoryAppendOnlyError as RepositoryAppendOnlyError
    from owui_vault.errors import RepositoryDamagedError as RepositoryDamagedError
    from owui_vault.errors import RepositoryExistsError as RepositoryExistsError
    from owui_vault.errors import RepositoryFullError as RepositoryFullError
    from owui_vault.errors import RepositoryLockedError as RepositoryLockedError
    from owui_vault.errors import RepositoryMissingError as RepositoryMissingError
    from owui_vault.errors import RepositoryRolledBackError as RepositoryRolledBackError
    from owui_vault.errors import RepositoryUnreachableError as RepositoryUnreachableError
    from owui_vault.errors import RestoreError as RestoreError
    from owui_vault.errors import ResumeError as ResumeError
    from owui_vault.errors import RollbackError as RollbackError
    from owui_vault.errors import SameRepositoryError as SameRepositoryError
    from owui_vault.errors import SecretError as SecretError
    from owui_vault.errors import SnapshotAmbiguousError as SnapshotAmbiguousError
    from owui_vault.errors import SnapshotMissingError as SnapshotMissingError
    from owui_vault.errors import StalePlanError as StalePlanError
    from owui_vault.errors import TargetError as TargetError
    from owui_vault.errors import UnforeseenError as UnforeseenError
    from owui_vault.errors import UnsupportedInstanceError as UnsupportedInstanceError
    from owui_vault.errors import VaultError as VaultError
    from owui_vault.errors import WrongInstanceError as WrongInstanceError
    from owui_vault.errors import WrongPassphraseError as WrongPassphraseError
    from owui_vault.model import Answered as Answered
    from owui_vault.model import ApplicationRecord as ApplicationRecord
    from owui_vault.model import Asking as Asking
    from owui_vault.model import AttributeRecord as AttributeRecord
    from owui_vault.model import Beat as Beat
    from owui_vault.model import BeatKind as BeatKind
    from owui_vault.model import CaptureLimits as CaptureLimits
    from owui_vault.model import Collapse as Collapse
    from owui_vault.model import CollapseLimits as CollapseLimits
    from owui_vault.model import CollectionRecord as CollectionRecord
    from owui_vault.model import Complaint as Complaint
    from owui_vault.model import Component as Component
    from owui_vault.model import ComponentKind as ComponentKind
    from owui_vault.model import ComponentRecord as ComponentRecord
    from owui_vault.model import ComponentSize as ComponentSize
    from owui_vault.model import ComposeService as ComposeService
    from owui_vault.model import Compression as Compression
    from owui_vault.model import ConfigurationReport as ConfigurationReport
    from owui_vault.model import ContainerRecord as ContainerRecord
    from owui_vault.model import CopyWay as CopyWay
    from owui_vault.model import CronSchedule as CronSchedule
    from owui_vault.model import DatabaseRecord as DatabaseRecord
    from owui_vault.model import DataMount as DataMount
    from owui_vault.model import Deadline as Deadline
    from owui_vault.model import Decision as Decision
    from owui_vault.model import DiscardReport as DiscardReport
    from owui_vault.model import EffectiveSettings as EffectiveSettings
    from owui_vault.model import Entry as Entry
    from owui_vault.model import ErrorNote as ErrorNote
    from owui_vault.model import Event as Event
    from owui_vault.model import EventKind as EventKind
    from owui_vault.model import ExtendedRecord as ExtendedRecord
    from owui_vault.model import FileRecord as FileRecord
    from owui_vault.model import FullCheck as FullCheck
    from owui_vault.model import InitializeReport as InitializeReport
    from owui_vault.model import InitializeResult as InitializeResult
    from owui_vault.model import InstalledSchedule as InstalledSchedule
    from owui_vault.model import InstanceReport as InstanceReport
    from owui_vault.model import InstanceState as InstanceState
    from owui_vault.model import IntervalSchedule as IntervalSchedule
    from owui_vault.model import Kept as Kept
    from owui_vault.model import Label as Label
    from owui_vault.model import LaterLabel as LaterLabel
    from owui_vault.model import LedgerEntry as LedgerEntry
    from owui_vault.model import LeftOut as LeftOut
    from owui_vault.model import Manifest as Manifest
    from owui_vault.model import Notice as Notice
    from owui_vault.model import NoticeSink as NoticeSink
    from owui_vault.model import OllamaModel as OllamaModel
    from owui_vault.model import OllamaModels as OllamaModels
    from owui_vault.model import Outcome as Outcome
    from owui_vault.model import OwnerRecord as OwnerRecord
    from owui_vault.model import Page as Page
    from owui_vault.model import Pages as Pages
    from owui_vault.model import PinReport as PinReport
    from owui_vault.model import PinResult as PinResult
    from owui_vault.model import Plan as Plan
    from owui_vault.model import PlannedReplication as PlannedReplication
    from owui_vault.model import PlanState as PlanState
    from owui_vault.model import PlanStep as PlanStep
    from owui_vault.model import PointFact as PointFact
    from owui_vault.model import Progress as Progress
    from owui_vault.model import ProgressSink as ProgressSink
    from owui_vault.model import Proof as Proof
    from owui_vault.model import ProofRecord as ProofRecord
    from owui_vault.model import Providers as Providers
    from owui_vault.model import PrunePlan as PrunePlan
    from owui_vault.model import PruneReport as PruneReport
    from owui_vault.model import PruneResult as PruneResult
    from owui_vault.model import Quiesce as Quiesce
    from owui_vault.model import RecoverReport as RecoverReport
    from owui_vault.model import ReplacementPlan as ReplacementPlan
    from owui_vault.model import ReplacementReport as ReplacementReport
    from owui_vault.model import ReplicationPlan as ReplicationPlan
    from owui_vault.model import ReplicationReport as ReplicationReport
    from owui_vault.model import ReplicationResult as ReplicationResult
    from owui_vault.model import RepositoryInfo as RepositoryInfo
    from owui_vault.model import RepositoryPrune as RepositoryPrune
    from owui_vault.model import RepositoryReplication as RepositoryReplication
    from owui_vault.model import RepositoryResult as RepositoryResult
    from owui_vault.model import RepositorySpace as RepositorySpace
    from owui_vault.model import RepositoryState as RepositoryState
    from owui_vault.model import RestoreReport as RestoreReport
    from owui_vault.model import RetentionPolicy as RetentionPolicy
    from owui_vault.model import RunList as RunList
    from owui_vault.model import RunOutcome as RunOutcome
    from owui_vault.model import RunRecord as RunRecord
    from owui_vault.model import RunReport as RunReport
    from owui_vault.model import Schedule as Schedule
    from owui_vault.model import ScheduledWork as ScheduledWork
    from owui_vault.model import Scheduler as Scheduler
    from owui_vault.model import ScheduleReport as ScheduleReport
    from owui_vault.model import Secret as Secret
    from owui_vault.model import SecretKeyRecord as SecretKeyRecord
    from owui_vault.model import SetAside as SetAside
    from owui_vault.model import Setting as Setting
    from owui_vault.model import SkippedFile as SkippedFile
    from owui_vault.model import Snapshot as Snapshot
    from owui_vault.model import SnapshotList as SnapshotList
    from owui_vault.model import SnapshotReport as SnapshotReport
    from owui_vault.model import SqliteLibrary as SqliteLibrary
    from owui_vault.model import StatusReport as StatusReport
    from owui_vault.model import Step as Step
    from owui_vault.model import StepRecord as StepRecord
    from owui_vault.model import StepResult as StepResult
    from owui_vault.model import StoreReceipt as StoreReceipt
    from owui_vault.model import TagPolicy as TagPolicy
    from owui_vault.model import UnansweredRepository as UnansweredRepository
    from owui_vault.model import UndoReport as UndoReport
    from owui_vault.model import Verdict as Verdict
    from owui_vault.model import VerifiedPart as VerifiedPart
    from owui_vault.model import VerifyDepth as VerifyDepth
    from owui_vault.model import VerifyReport as VerifyReport
    from owui_vault.model import Waiting as Waiting
    from owui_vault.notify.apprise_notifier import AppriseNotifier as AppriseNotifier
    from owui_vault.notify.heartbeat import UrlHeartbeat as UrlHeartbeat
    from owui_vault.ports import Application as Application
    from owui_vault.ports import Call as Call
    from owui_vault.ports import Clock as Clock
    from owui_vault.ports import DescribedSecret as DescribedSecret
    from owui_vault.ports import Engine as Engine
    from owui_vault.ports import Heartbeat as Heartbeat
    from owui_vault.ports import Held as Held
    from owui_vault.ports import Launch as Launch
    from owui_vault.ports import Notifier as Notifier
    from owui_vault.ports import Observation as Observation
    from owui_vault.ports import Quiescer as Quiescer
    from owui_vault.ports import Remarks as Remarks
    from owui_vault.ports import Revealed as Revealed
    from owui_vault.ports import SecretSource as SecretSource
    from owui_vault.service.schedule.ticks import install_schedule as install_schedule
    from owui_vault.service.schedule.ticks import remove_schedule as remove_schedule
    from owui_vault.service.schedule.ticks import show_schedule as show_schedule
    from owui_vault.vault import Vault as Vault
    from owui_vault.version import VERSION as VERSION

#: Where each name lives; type checkers read the same above.
_HOME = {
    "owui_vault.assembly": "check_configuration effective_settings open_vault tell_of_mistakes",
    "owui_vault.context.context": "Container DataDirectory InstanceOptions Limits Repository Subscription",
    "owui_vault.engines.borg.engine": "BorgEngine",
    "owui_vault.engines.restic.engine": "ResticEngine",
    "owui_vault.errors": (
        "CancelledError CaptureError ConfigError ContentMismatchError DeadlineExceededError EngineError "
        "EngineOutputError InstanceError InstanceNotFoundError LaterFormatError LockHeldError NoSpaceError "
        "NotifyError NotProvenError ProgramMissingError QuiesceError RepositoryAppendOnlyError RepositoryDamagedError "
        "RepositoryExistsError RepositoryFullError RepositoryLockedError RepositoryMissingError "
        "RepositoryRolledBackError RepositoryUnreachableError RestoreError ResumeError RollbackError "
        "SameRepositoryError SecretError SnapshotAmbiguousError SnapshotMissingError StalePlanError TargetError "
        "UnforeseenError UnsupportedInstanceError VaultError WrongInstanceError WrongPassphraseError"
    ),
    "owui_vault.model": (
        "Answered ApplicationRecord Asking AttributeRecord Beat BeatKind CaptureLimits Collapse CollapseLimits "
        "CollectionRecord Complaint Component ComponentKind ComponentRecord ComponentSize ComposeService Compression "
        "ConfigurationReport ContainerRecord CopyWay CronSchedule DatabaseRecord DataMount Deadline Decision "
        "DiscardReport EffectiveSettings Entry ErrorNote Event EventKind ExtendedRecord FileRecord FullCheck "
        "InitializeReport InitializeResult InstalledSchedule InstanceReport InstanceState IntervalSchedule Kept Label "
        "LaterLabel LedgerEntry LeftOut Manifest Notice NoticeSink OllamaModel OllamaModels Outcome OwnerRecord Page "
        "Pages PinReport PinResult Plan PlannedReplication PlanState PlanStep PointFact Progress ProgressSink Proof "
        "ProofRecord Providers PrunePlan PruneReport PruneResult Quiesce RecoverReport ReplacementPlan "
        "ReplacementReport ReplicationPlan ReplicationReport ReplicationResult RepositoryInfo RepositoryPrune "
        "RepositoryReplication RepositoryResult RepositorySpace RepositoryState RestoreReport RetentionPolicy RunList "
        "RunOutcome RunRecord RunReport Schedule ScheduledWork Scheduler ScheduleReport Secret SecretKeyRecord "
        "SetAside Setting SkippedFile Snapshot SnapshotList SnapshotReport SqliteLibrary StatusReport Step StepRecord "
        "StepResult StoreReceipt TagPolicy UnansweredRepository UndoReport Verdict VerifiedPart VerifyDepth "
        "VerifyReport Waiting"
    ),
    "owui_vault.notify.apprise_notifier": "AppriseNotifier",
    "owui_vault.notify.heartbeat": "UrlHeartbeat",
    "owui_vault.ports": (
        "Application Call Clock DescribedSecret Engine Heartbeat Held Launch Notifier Observation Quiescer Remarks "
        "Revealed SecretSource"
    ),
    "owui_vault.service.schedule.ticks": "install_schedule remove_schedule show_schedule",
    "owui_vault.vault": "Vault",
    "owui_vault.version": "VERSION",
}
__all__ = [name for names in _HOME.values() for name in names.split()]
__getattr__, __dir__ = lazy_names(__name__, _HOME)
