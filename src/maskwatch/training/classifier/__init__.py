"""The tutorial's classifier: MobileNetV2 with a small head, trained on class folders with Keras.

The backbone is frozen while the head learns, so its part of the work needs no gradients: it runs
through onnxruntime, three to ten times faster than through Keras, and equally fast whichever
backend Keras has.
"""
