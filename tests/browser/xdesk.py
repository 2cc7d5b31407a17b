"""A real X client with a barcode that counts, a field and a patch; tells what happens to it as lines of JSON.

Its input says where its person moves the pointer, when the barcode stops, and of which colour the patch is. Run by guest.test.js on a display of its own, without a window manager.
"""

import json
import os
import sys
import tkinter

COLUMNS, ROWS = 16, 2
STEP_MS = 150


def checksum(value):
    """As in web/lib/barcode.js."""
    crc = 0xFF
    for shift in (16, 8, 0):
        crc ^= (value >> shift) & 0xFF
        for _ in range(8):
            crc = ((crc << 1) ^ 0x07) & 0xFF if crc & 0x80 else (crc << 1) & 0xFF
    return crc


def tell(**what):
    print(json.dumps(what), flush=True)


root = tkinter.Tk()
width, height = root.winfo_screenwidth(), root.winfo_screenheight()
root.overrideredirect(True)
root.geometry(f"{width}x{height}+0+0")
cell = width / COLUMNS
canvas = tkinter.Canvas(root, width=width, height=round(cell * ROWS), highlightthickness=0, background="white")
canvas.pack()
cells = [
    canvas.create_rectangle(
        round(column * cell), round(row * cell), round((column + 1) * cell), round((row + 1) * cell), width=0
    )
    for row in range(ROWS)
    for column in range(COLUMNS)
]
text = tkinter.StringVar()
text.trace_add("write", lambda *_: tell(text=text.get()))
field = tkinter.Entry(root, textvariable=text, font=("DejaVu Sans", 24))
field.place(x=round(width / 4), y=round(height / 2), width=round(width / 2), height=60)
patch = tkinter.Frame(root, width=40, height=40, background="white")
patch.place(x=round(width / 2), y=round(height * 3 / 4))


def pointer(kind):
    return lambda event: tell(kind=kind, x=event.x_root, y=event.y_root, button=event.num if kind != "move" else 0)


def person(*_):
    lines = os.read(0, 4096).decode().split("\n")
    if lines == [""]:
        root.deletefilehandler(sys.stdin)
        return
    for line in lines[:-1]:
        match line.split():
            case ["hold"]:
                root.after_cancel(counting.pop())
                tell(held=shown.pop())
            case ["paint", colour]:
                patch.configure(background=colour)
            case [x, y]:
                root.event_generate("<Motion>", warp=True, x=int(x), y=int(y))


root.createfilehandler(sys.stdin, tkinter.READABLE, person)
root.bind_all("<Motion>", pointer("move"))
root.bind_all("<ButtonPress>", pointer("down"))
root.bind_all("<ButtonRelease>", pointer("up"))
root.bind_all("<KeyPress>", lambda event: tell(kind="key", key=event.keysym))


counting, shown = [], []


def count(value):
    shown[:] = [value]
    word = (value << 8) | checksum(value)
    for at, item in enumerate(cells):
        canvas.itemconfigure(item, fill="black" if (word >> (31 - at)) & 1 else "white")
    counting[:] = [root.after(STEP_MS, count, value + 1)]


count(1)
root.update()
field.bind("<ButtonPress>", lambda _: field.focus_force())
tell(
    ready=True,
    width=width,
    height=height,
    field=[field.winfo_rootx() + 40, field.winfo_rooty() + 30],
    patch=[patch.winfo_rootx() + 20, patch.winfo_rooty() + 20],
)
root.mainloop()
