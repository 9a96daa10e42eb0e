"""Who plays when: an intro that grows, a first verse that leaves room, breaks that fall back to a few."""

from __future__ import annotations

from .grid import SHORT, BarView, Piece

__all__ = ["plays"]


def plays(piece: Piece, role: str, bar: BarView) -> bool:
    """Whether a role plays in a bar. It depends on the plan's sections and players, and on no dice.

    The style's `texture` says in which order the roles enter during the intro, who stays in a break, and who is late:
    these leave the first half of the first verse to the others.
    """
    if len(piece.bars) <= SHORT:
        return True
    if bar.section == "intro":
        return role in _entered(piece, bar)
    if bar.section == "break":
        staying = [name for name in piece.style.texture["break"] if name in piece.plan.instruments]
        return role in staying or not staying
    is_opening = bar.section == "verse" and bar.occurrence == 0 and bar.index < bar.length // 2
    return not (is_opening and role in _late(piece))


def _entered(piece: Piece, bar: BarView) -> list[str]:
    """The roles that have entered by a bar of an intro: one at the start, the others one by one."""
    order = piece.style.texture["intro"]
    here = [name for name in order if name in piece.plan.instruments]
    if not here:
        return list(piece.plan.instruments)
    # Places are kept for those who are absent, so that a drummer who leaves moves nobody's entry.
    entered = [name for place, name in enumerate(order) if bar.index >= place * bar.length // len(order)]
    return entered if set(entered) & set(here) else here[:1]


def _late(piece: Piece) -> list[str]:
    """Roles that come late, unless they are all there is."""
    late = piece.style.texture["late"]
    return late if set(piece.plan.instruments) - set(late) else []
