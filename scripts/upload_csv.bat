@echo off
rem scripts\upload_csv.bat rows.csv [--wait]: needs Python 3.11 or later with boto3
set "PYTHONPATH=%~dp0..\container;%~dp0..\lambda\layer;%~dp0.."
python -m cli upload %*
