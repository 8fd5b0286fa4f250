"""Split learning, the label party's side.

Each host has a bottom module over its columns; the label party has the labels, a top module, and perhaps a bottom of
its own. In each batch the hosts send activations, the label party returns the gradient at them, and everybody takes a
step. A batch travels in micro-batches: the label party answers each as it comes, while the next is on its way. After
Gupta and Raskar (arXiv 1810.06060) and Vepakomma et al. (arXiv 1812.00564). With several hosts the activations are
added up under pairwise masks, so that the label party reads only their sum (Bonawitz et al., CCS 2017, without
dropouts).

Adversary: a malicious relay; members that follow the protocol and do not collude, and look at all they get. What a
member shows is what its `work` lets out, and any guarantee about it is the work's: by itself an activation is a
function of a row, and the gradient of a row tells its label (Li et al., arXiv 2102.08504, cosine attack). The label
party learns activations, with several hosts only their sum; a host learns one gradient a row and epoch, no other
host's activations and no score. Deviation: order and size of batches are fixed beforehand; a lost member ends the
fit.
"""

from __future__ import annotations

from silo.protocols.split import wire
from silo.protocols.split.line import Line
from silo.protocols.split.schedule import Schedule
from silo.protocols.split.shown import seen
from silo.protocols.split.terms import Terms
from silo.protocols.split.work import LabelWork, checked
from silo.protocols.step import Role


def train(
    line: Line, terms: Terms, schedule: Schedule, work: LabelWork, *, width: int, start: int = 0
) -> Role[None]:
    """The label party's role from epoch `start` on. Raises `ProtocolViolation`, `ProtocolAborted`."""
    hosts = line.context.hosts
    size = terms.activation_bytes(width, len(hosts))
    number = 0
    for epoch in range(start, terms.epochs):
        work.begin(epoch)
        for batch in schedule.batches(epoch):
            first = 0
            for places in batch:
                work.ahead(places)
                came = yield from line.take(hosts, number, len(places), size, "activations")
                found = work.exchange(places, seen(line, terms, came, width))
                gradient = checked(found, len(places), width, f"{line.me}: the top module", first)
                raw = wire.encode(gradient, terms.wire)
                yield from line.send(*(line.out(host, number, len(places), raw) for host in hosts))
                # The hosts go on meanwhile.
                work.settle()
                number, first = number + 1, first + len(places)
            work.step(first)
        work.end(epoch)
