"""A camera: an RTSP server whose pictures carry the number of the moment (system Python, GStreamer).

    /usr/bin/python3 rtsp_server.py PORT RATE START

The number is how many pictures a camera that never stops would have taken since START (s since 1970),
so what a viewer missed shows in the numbers. Rows 0 to 15 hold it as black and white blocks, bit 0 left.
"""

import sys
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

WIDTH, HEIGHT, BITS = 192, 108, 16


def numbered(number: int) -> bytes:
    """An I420 picture of `number`, as `tests.clips.numbered` draws it."""
    row = b"".join(
        bytes([235 if number >> bit & 1 else 20]) * ((bit + 1) * WIDTH // BITS - bit * WIDTH // BITS)
        for bit in range(BITS)
    )
    luma = row * 16 + bytes([96]) * (WIDTH * (HEIGHT - 16))
    return luma + bytes([128]) * (WIDTH * HEIGHT // 2)


class Factory(GstRtspServer.RTSPMediaFactory):
    """One encoder for all viewers, fed from the clock."""

    def __init__(self, rate: int, start: float) -> None:
        super().__init__()
        self.rate, self.start, self.pushed = rate, start, 0
        self.set_shared(True)

    def do_create_element(self, url: object) -> Gst.Element:
        """The pipeline behind the address."""
        return Gst.parse_launch(
            f"appsrc name=source is-live=true do-timestamp=true format=time "
            f"caps=video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate={self.rate}/1 "
            f"! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={self.rate} bitrate=400 "
            f"! rtph264pay name=pay0 pt=96 config-interval=1"
        )

    def do_configure(self, media: GstRtspServer.RTSPMedia) -> None:
        """Start the clock of one run."""
        source = media.get_element().get_child_by_name("source")
        media.set_reusable(True)
        GLib.timeout_add(max(1, 500 // self.rate), self.push, source)

    def push(self, source: Gst.Element) -> bool:
        """The picture that is due, if one is."""
        number = int((time.time() - self.start) * self.rate)
        if number == self.pushed:
            return True
        self.pushed = number
        return source.emit("push-buffer", Gst.Buffer.new_wrapped(numbered(number))) == Gst.FlowReturn.OK


def main() -> None:
    """Serve until killed."""
    Gst.init(None)
    port, rate, start = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = Factory(rate, start)
    server.get_mount_points().add_factory("/camera", factory)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


main()
