"""What `import maskwatch` shows, and what it costs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import maskwatch


def test_every_public_name_exists_and_is_documented():
    for name in maskwatch.__all__:
        thing = getattr(maskwatch, name)
        if callable(thing):
            assert thing.__doc__, name
    assert set(maskwatch.__all__) <= set(dir(maskwatch))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = maskwatch.nonsense


def test_the_api_page_lists_what_is_public():
    page = (Path(__file__).parent.parent / "docs" / "api.md").read_text()
    listed = set(re.findall(r"^## `(\w+)`", page, flags=re.MULTILINE))
    assert listed == set(maskwatch.__all__) - {"__version__"}


def test_a_public_name_is_not_covered_by_its_module():
    """`maskwatch.annotate` was the module once anything had imported that."""
    code = "import maskwatch.annotate; from maskwatch import annotate; print(callable(annotate))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, maskwatch; print(sorted({'numpy', 'cv2', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_function_stays_a_function_when_its_module_is_imported_first():
    code = (
        "import maskwatch.pipeline; from maskwatch.annotate import annotate as inner; "
        "import maskwatch; from maskwatch import annotate; assert annotate is inner is maskwatch.annotate"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
