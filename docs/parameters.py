"""Write the table and the JSON schema of a run's parameters from their models: ``python docs/parameters.py``."""

import json
from pathlib import Path

from seaicekit.pipeline import RunParameters, parameter_table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "guide" / "parameters.md"
SCHEMA = ROOT / "seaicekit" / "pipeline" / "schemas" / "parameters.json"
HEAD = """# Parameters

For `-p NAME VALUE`, for `params.yaml` (one `name: value` a line) and in the notebooks' first cells; the number says
in which. A list for a single-valued parameter makes a run of each of its values. With the defaults the network is
small, so that it trains in minutes; `seaicekit run paper` takes the paper's values. Tiles are 256 pixels a side.
Editors can check a file by the JSON schema `seaicekit/pipeline/schemas/parameters.json`. This page is written by
`python docs/parameters.py`.

"""


def texts() -> dict[Path, str]:
    """Return what the files are to hold."""
    schema = RunParameters.model_json_schema()
    schema["description"] = schema["description"].partition("\n\nParameters\n")[0]
    text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    return {PAGE: HEAD + parameter_table(), SCHEMA: text}


if __name__ == "__main__":
    for path, text in texts().items():
        path.write_text(text, encoding="utf-8")
