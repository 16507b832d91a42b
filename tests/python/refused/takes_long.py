import time

print("taking long", flush=True)
time.sleep(3600)
