"""An operator for widgets, as its own process; a widget whose text begins with `slow` takes a second a pass."""

import asyncio
import os
import sys

from modelyard.controller.engine.manifests import Manifest
from modelyard.controller.engine.plan import Plan
from modelyard.controller.engine.runtime import Runtime, Trigger, controller_keys
from modelyard.controller.engine.settings import load_settings
from tests.support.widgets import CONFIG_MAPS, JOBS, SELECTOR, TYPES, WIDGETS, decide


async def plan(widget: Manifest) -> Plan:
    if widget["spec"]["text"].startswith("slow"):
        await asyncio.sleep(1)
    return decide(widget)


def main() -> int:
    runtime = Runtime(load_settings(os.environ), TYPES)
    widgets = runtime.serve(WIDGETS)
    caches = [runtime.cache(resource, label_selector=SELECTOR) for resource in (CONFIG_MAPS, JOBS)]
    runtime.reconcile(widgets, plan, triggers=[Trigger(cache, controller_keys("Widget")) for cache in caches])
    return runtime.run()


if __name__ == "__main__":
    sys.exit(main())
