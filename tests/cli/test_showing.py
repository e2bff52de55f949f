import io

import pytest
import typer

from sparring.cli.showing import PrintableOutput, printable_output


def test_text_comes_out_also_where_the_terminal_has_no_unicode():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    with printable_output(stream):
        typer.echo("0.5 eV/Å \x1b[31m")
    stream.flush()
    assert b"0.5 eV/? " in stream.buffer.getvalue()
    assert b"\x1b" not in stream.buffer.getvalue()


def test_a_stream_of_text_refuses_bytes():
    with pytest.raises(TypeError, match="wanted a text, got bytes"):
        PrintableOutput(io.StringIO()).write(b"")
