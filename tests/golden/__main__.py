"""Write the shipped model's answers anew."""

import json

from tests.golden import ANSWERS, answers

ANSWERS.write_text(json.dumps(answers(), indent=1) + "\n", encoding="utf-8")
