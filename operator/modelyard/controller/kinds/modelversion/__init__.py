"""ModelVersion: is it there, is it accepted, is it the champion?"""
