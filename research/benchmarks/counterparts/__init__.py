"""The networks of ``research.models`` in other frameworks: readings of the same layer values.

Each module has ``make_train(net, image_shape, batch_size) -> train(num_steps)``, which trains with Adam on
one batch of random images that already lies on the device, as float32: nothing but the step is timed.
"""
