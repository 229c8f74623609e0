"""import cdb: what an experiment has in psana 2's calibration service becomes versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from calstore.errors import Invalid, NotFound
from calstore.formats.calib_service import NAMES, CalibService
from calstore.model.documents import EVERY_RUN, MAX_PAYLOAD, Document
from calstore.model.names import RefName
from calstore.model.psana2 import MAX_RUN, parse_long_name
from calstore.model.records import Record, Stamp
from calstore.repository.commit import refuse_nameless
from calstore.repository.deposit import deposit
from calstore.repository.documents import Deposit, known_ids, put_content
from calstore.repository.store import Store

_MAX_TEXT: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ImportedDocuments:
    """What came of an import.

    Parameters
    ----------
    records
        The new ones, one for each act of depositing, and one for the fall-backs.
    documents
        How many were new.
    known
        How many the ref had already.
    fall_backs
        How many of the new ones are of a detector's own database.
    problems
        Documents that were left out, and why.
    newest
        The ref's newest record; ``None`` when it has none.
    """

    records: tuple[Record, ...]
    documents: int
    known: int
    fall_backs: int
    problems: tuple[str, ...]
    newest: Record | None


@dataclass(frozen=True, slots=True)
class _Found:
    """A document where it was, before its payload is fetched."""

    database: str
    document: Document


def import_service(
    store: Store,
    service: CalibService,
    experiment: str,
    ref: str,
    stamp: Callable[[str], Stamp],
    *,
    detectors: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImportedDocuments:
    """Add to a ref what the service has for an experiment and the ref does not have yet.

    Documents that were deposited by one command become one record, in the order of deposits, so
    that what was superseded stays in the history. Then comes a record with what psana would take
    today from the detectors' own databases, for runs and types that the experiment has not.

    Parameters
    ----------
    stamp
        Gives who and when for a record with a message.
    detectors
        Unique ids of further detectors, which the experiment has nothing of its own for.

    Raises
    ------
    NotFound
        When the service cannot be read, or knows nothing of the experiment.
    Invalid
        When it answers what no such service does; when the ref is a tag.
    """
    name = RefName(ref)
    refuse_nameless(stamp(""))
    names = _Names(service)
    own = f"cdb_{experiment}"
    shorts = service.collections(own)
    more = [names.short_of(long) for long in detectors]
    if not shorts and not any(more):
        raise NotFound(f"{service.url} knows nothing of {experiment}; is that its name there?")
    problems: list[str] = []
    found = _in_order(_read(service, own, shorts, names, problems))
    head = store.head(name.log)
    known = known_ids(store, None if head is None else head.record)
    new = [each for each in found if each.document.identity not in known]
    records: list[Record] = []
    done = 0
    for act in _acts(new):
        progress(done, len(new))
        deposits = list(_fetched(store, service, act, problems))
        done += len(act)
        if deposits:
            first = deposits[0].document
            what = f"{_listed(deposits)} {first.runs}, deposited by {first.told('uid') or '?'}"
            why = first.told("comment")[:1000]
            records.append(_added(store, ref, deposits, what, stamp(why)))
    fall_backs = _fall_backs(
        service, {*shorts, *filter(None, more)}, names, [each.document for each in found], problems
    )
    fresh = [each for each in fall_backs if each.document.identity not in known]
    deposits = list(_fetched(store, service, fresh, problems))
    if deposits:
        what = f"fall-backs of the detectors' own databases: {_listed(deposits)}"
        records.append(_added(store, ref, deposits, what, stamp("")))
    progress(len(new), len(new))
    newest = store.head(name.log)
    return ImportedDocuments(
        tuple(records),
        len(new) + len(fresh),
        len(found) + len(fall_backs) - len(new) - len(fresh),
        len(deposits),
        tuple(problems),
        None if newest is None else newest.record,
    )


class _Names:
    """The unique ids of short names, as the service tells them."""

    def __init__(self, service: CalibService) -> None:
        self._service = service
        self._by_kind: dict[str, dict[str, str]] = {}

    def long_of(self, short: str) -> str:
        """The unique id of a short name; ``""`` where the service does not say."""
        return self._of_kind(short.partition("_")[0]).get(short, "")

    def short_of(self, long: str) -> str:
        """The short name of a unique id.

        Raises
        ------
        NotFound
            Where the service does not know these panels.
        """
        kind, _ = parse_long_name(long)
        for short, other in self._of_kind(kind).items():
            if other == long:
                return short
        raise NotFound(f"{self._service.url} does not know the panels {long}")

    def _of_kind(self, kind: str) -> dict[str, str]:
        if kind not in self._by_kind:
            found = self._service.documents(NAMES, kind)
            self._by_kind[kind] = {
                str(each.get("short")): str(each.get("long"))
                for each in found
                if isinstance(each, dict)
            }
        return self._by_kind[kind]


def _read(
    service: CalibService, database: str, shorts: Sequence[str], names: _Names, problems: list[str]
) -> Iterator[_Found]:
    """The documents of collections, each in the order in which the service has them."""
    for short in shorts:
        if short == "gridfs" or "." in short:
            continue  # where the database itself keeps the payloads
        for fields in service.documents(database, short):
            try:
                _refuse_other_detector(fields, short)
                yield _Found(database, Document.parsed(fields, names.long_of(short)))
            except Invalid as error:
                identity = fields.get("_id") if isinstance(fields, dict) else None
                problems.append(f"{database}/{short} {identity!s:.40}: {error}")


def _in_order(found: Iterator[_Found]) -> list[_Found]:
    """By the time of the deposit; of the same second, in the order of the answer."""
    return sorted(found, key=lambda each: each.document.seconds)


def _acts(found: Sequence[_Found]) -> Iterator[list[_Found]]:
    """Documents in a row that were deposited by one command; each type once."""
    act: list[_Found] = []
    for each in found:
        types = {other.document.type_name for other in act}
        is_same = act and act[0].document.act == each.document.act
        if act and (not is_same or each.document.type_name in types):
            yield act
            act = []
        act.append(each)
    if act:
        yield act


def _fetched(
    store: Store, service: CalibService, found: Sequence[_Found], problems: list[str]
) -> Iterator[Deposit]:
    """The documents with what they are about, each stored before the next is fetched."""
    for each in found:
        document = each.document
        most = _MAX_TEXT if document.size is None else min(document.size, MAX_PAYLOAD)
        try:
            payload = service.payload(each.database, document.id_data, most)
            content = put_content(store, document, payload)
        except Invalid as error:
            problems.append(f"{each.database} {document.type_name} {document.identity}: {error}")
            continue
        yield Deposit(each.database, document, content)


def _fall_backs(
    service: CalibService,
    shorts: set[str],
    names: _Names,
    own: Sequence[Document],
    problems: list[str],
) -> list[_Found]:
    """Of each detector's own database the latest document of each type, its runs ignored.

    psana2 takes the first of those of the same second (MDBWebUtils.py, select_latest_doc), for
    any run for which the experiment has none of that type.
    """
    whole = {(each.long, each.type_name) for each in own if each.runs == EVERY_RUN}
    found = []
    for short in sorted(shorts):
        database, long = f"cdb_{short}", names.long_of(short)
        latest: dict[str, Mapping[str, Any]] = {}
        for fields in service.documents(database, short):
            if isinstance(fields, dict) and _is_asked_for(fields, short):
                before = latest.get(str(fields.get("ctype")))
                if before is None or _seconds(fields) > _seconds(before):
                    latest[str(fields.get("ctype"))] = fields
        for fields in latest.values():
            try:
                document = Document.fall_back(fields, long)
            except Invalid as error:
                problems.append(f"{database} {fields.get('_id')!s:.40}: {error}")
                continue
            if (document.long, document.type_name) not in whole:
                found.append(_Found(database, document))
    return found


def _refuse_other_detector(fields: object, short: str) -> None:
    """psana2 asks a collection for documents of its own short name; cdb add writes others."""
    of = fields.get("detector") if isinstance(fields, dict) else short
    if of != short:
        raise Invalid(f"it says that it is of {of!r:.60}, so that psana never finds it")


def _is_asked_for(fields: Mapping[str, Any], short: str) -> bool:
    """Whether psana2's query for all runs up to its last finds a document."""
    run = fields.get("run")
    return isinstance(run, int) and run <= MAX_RUN and fields.get("detector") == short


def _seconds(fields: Mapping[str, Any]) -> str:
    return str(fields.get("_id"))[:8]


def _added(store: Store, ref: str, deposits: Sequence[Deposit], what: str, stamp: Stamp) -> Record:
    return deposit(store, ref, deposits, what, stamp, operation="import", may_be_new=True).record


def _listed(deposits: Sequence[Deposit]) -> str:
    by_detector: dict[str, list[str]] = {}
    for each in deposits:
        name = each.document.told("detname") or each.document.panels[0]
        by_detector.setdefault(name, []).append(each.document.type_name)
    return "; ".join(f"{name} {', '.join(types)}" for name, types in by_detector.items())[:800]
