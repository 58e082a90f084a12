"""Video decoders as Python users call them. Each has `all(data)`: every frame, and
`range(data, begin, end)`: some, by the best seek it has; both give uint8 [frames, 224, 224, 3] RGB of
the whole picture, stretched. `width` and `height` are those of the output.

Only PyAV and OpenCV are in Debian; the others are used where they can be imported.
"""
import io
import os
import tempfile

WIDTH = HEIGHT = 224


class PyAV:
    def __init__(self):
        import av
        import numpy
        self.av, self.numpy = av, numpy

    def _open(self, data):
        container = self.av.open(io.BytesIO(data))
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        return container, stream

    def _array(self, frame):
        return frame.to_ndarray(format="rgb24", width=WIDTH, height=HEIGHT)

    def all(self, data):
        container, stream = self._open(data)
        with container:
            return self.numpy.stack([self._array(frame) for frame in container.decode(stream)])

    def range(self, data, begin, end):
        container, stream = self._open(data)
        with container:
            tick = round(1 / (stream.average_rate * stream.time_base))
            first = begin * tick + (stream.start_time or 0)
            container.seek(first, stream=stream, backward=True)
            frames = []
            for frame in container.decode(stream):
                if frame.pts >= first:
                    frames.append(self._array(frame))
                    if len(frames) == end - begin:
                        break
            return self.numpy.stack(frames)


class OpenCV:
    """Reads files only: the bytes take a detour."""

    def __init__(self):
        os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "threads;1"
        import cv2
        import numpy
        self.cv2, self.numpy = cv2, numpy
        cv2.setNumThreads(1)

    def _read(self, data, begin, end):
        frames = []
        with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
            file.write(data)
            file.flush()
            capture = self.cv2.VideoCapture(file.name, self.cv2.CAP_FFMPEG)
            if begin:
                capture.set(self.cv2.CAP_PROP_POS_FRAMES, begin)
            while end is None or len(frames) < end - begin:
                there, frame = capture.read()
                if not there:
                    break
                frame = self.cv2.resize(frame, (WIDTH, HEIGHT), interpolation=self.cv2.INTER_LINEAR)
                frames.append(self.cv2.cvtColor(frame, self.cv2.COLOR_BGR2RGB))
            capture.release()
        return self.numpy.stack(frames)

    def all(self, data):
        return self._read(data, 0, None)

    def range(self, data, begin, end):
        return self._read(data, begin, end)


class Decord:
    def __init__(self):
        import decord
        self.decord = decord

    def _reader(self, data):
        return self.decord.VideoReader(io.BytesIO(data), width=WIDTH, height=HEIGHT, num_threads=1)

    def all(self, data):
        reader = self._reader(data)
        return reader.get_batch(range(len(reader))).asnumpy()

    def range(self, data, begin, end):
        return self._reader(data).get_batch(range(begin, end)).asnumpy()


class TorchCodec:
    def __init__(self):
        from torchcodec.decoders import VideoDecoder
        from torchcodec.transforms import Resize
        self.decoder = lambda data: VideoDecoder(
            data, dimension_order="NHWC", num_ffmpeg_threads=1,
            transforms=[Resize(size=(HEIGHT, WIDTH))])

    def all(self, data):
        decoder = self.decoder(data)
        return decoder.get_frames_in_range(0, len(decoder)).data.numpy()

    def range(self, data, begin, end):
        return self.decoder(data).get_frames_in_range(begin, end).data.numpy()


class Spdl:
    def __init__(self):
        import spdl.io
        self.io = spdl.io
        self.filter = spdl.io.get_video_filter_desc(
            pix_fmt="rgb24", scale_width=WIDTH, scale_height=HEIGHT, scale_algo="bilinear")
        self.config = spdl.io.decode_config(decoder_options={"threads": "1"})

    def all(self, data):
        return self.io.to_numpy(
            self.io.load_video(data, decode_config=self.config, filter_desc=self.filter))

    def range(self, data, begin, end):
        packets = self.io.demux_video(data)
        frames = self.io.sample_decode_video(packets, list(range(begin, end)),
                                             decode_config=self.config, filter_desc=self.filter)
        return self.io.to_numpy(self.io.convert_frames(frames))


DECODERS = {"pyav": PyAV, "opencv": OpenCV, "decord": Decord, "torchcodec": TorchCodec, "spdl": Spdl}
